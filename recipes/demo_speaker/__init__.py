"""The demo speaker: sixty recordings to learn a new voice from. `python -m recipes.demo_speaker.make`."""
