"""Orpheus TTS: tagged text to 24 kHz speech. The public face is `from inference import OrpheusInference`."""

import os

# By default OpenMP's threads spin while they wait for each other. With another busy process on the machine, small layers
# then ran 13 times slower (2 cores, demo voice); sleeping costs nothing that could be measured. Read when PyTorch loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
