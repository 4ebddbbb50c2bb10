"""Synthetic images: letters, shapes and road signs, the same bits at every call."""
