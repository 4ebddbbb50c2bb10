"""Fusion: from the logits of several members to one distribution."""
