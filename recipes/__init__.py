"""How the assets were made: `demo_voice` (weights and codec), `demo_speaker` (recordings), `tag_detector`."""

from orpheus.common import missing

missing.from_here_on()
