"""Orpheus TTS: tagged text to 24 kHz speech. The public API is `from inference import OrpheusInference`."""

import os

# By default OpenMP's threads spin while they wait for each other. With another busy process on the machine, that made
# small layers 13 times slower (2 cores, demo voice); sleeping has no measurable cost. PyTorch reads this when it loads.
WAIT_POLICY_IS_OURS = "OMP_WAIT_POLICY" not in os.environ
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
