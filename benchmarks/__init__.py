"""Programs that measure this package: `speed`, `scaling`, `experiment`, and `house` for the code itself."""
