"""Kedro's datasets of facts, tables, figures and pages, for which a file that was cut short does not exist."""
