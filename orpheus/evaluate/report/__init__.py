"""What an evaluation produces: a table, report.json, and report.html with players, spectrograms and plots."""
