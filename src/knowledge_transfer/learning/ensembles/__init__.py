"""Fusion of the logits of several members to one distribution."""
