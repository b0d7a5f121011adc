"""Orpheus TTS: tagged text to 24 kHz speech. The public API is `from inference import OrpheusInference`."""

from orpheus.common import waiting  # noqa: F401  before anything loads PyTorch
