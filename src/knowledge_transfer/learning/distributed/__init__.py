"""One fit on several devices."""
