"""The datasets of the catalog."""
