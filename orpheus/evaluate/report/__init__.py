"""What an evaluation leaves: a table, report.json and report.html with players, spectrograms and plots."""
