"""What archspec promises about speed, measured: `python -m benchmarks`.

One file per benchmark, found by scanning this package for a `BENCHMARK`. Timings that are compared
are taken side by side in one run, in interleaved rounds, and given as medians with quartiles.
"""
