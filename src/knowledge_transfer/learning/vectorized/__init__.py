"""Many small networks trained in one pass."""
