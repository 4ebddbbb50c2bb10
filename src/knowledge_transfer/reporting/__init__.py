"""Pages, tables and figures: what reports have in common."""
