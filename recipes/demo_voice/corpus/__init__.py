"""The speech that the demo voice learns from: `sentences`, `speak` (the teacher and its labels), `build` (tags mixed in), `read`."""
