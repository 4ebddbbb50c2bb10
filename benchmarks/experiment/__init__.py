"""The published experiment on one GPU, what a run costs before its first step, and whether results are the same."""
