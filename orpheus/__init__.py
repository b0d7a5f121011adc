"""Orpheus TTS: tagged text to 24 kHz speech. The public face is `from inference import OrpheusInference`."""
