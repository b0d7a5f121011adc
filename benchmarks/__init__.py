"""Measurements: other software and this project on the same machine, in one run. `python -m benchmarks.encode`.

start, decode, encode, generate, streams, adapters and train are commands, table puts their results into docs/speed.md. `common` is what they
share, `peers` what they measure beside this project, `results` what was recorded.
"""

import orpheus  # noqa: F401  before torch: it says how threads wait
from orpheus.common import missing

missing.from_here_on()
