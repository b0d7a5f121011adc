"""Unsloth's training: its `model`, the `trainers` that its notebooks use, and `train`, a process that runs them."""
