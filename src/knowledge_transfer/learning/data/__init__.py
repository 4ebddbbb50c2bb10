"""Images: sets, domains, splits, views."""
