"""What the benchmarks share: data, models, clocks, the usual loop, the machine, the report."""
