"""What the benchmarks share: `report` (times, limits, JSON), `models` (full-size shapes with random weights), `training` (what
is trained, and how its steps are timed), `card` (what the GPU does at most)."""
