"""The detector of tag sounds that evaluation uses. `python -m recipes.tag_detector.make`."""
