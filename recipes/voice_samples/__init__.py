"""What docs/voices.md lets people hear. `python -m recipes.voice_samples.make`."""
