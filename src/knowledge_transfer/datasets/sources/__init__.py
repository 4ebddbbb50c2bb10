"""Where published images come from."""
