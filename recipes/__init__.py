"""How the assets were made: `demo_voice` (weights and codec), `demo_speaker` (recordings), `tag_detector`."""
