"""How many clips a voice needs, and what the default options make of few and of many: measured on the demo voice."""
