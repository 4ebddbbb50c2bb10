"""A cluster of machines."""
