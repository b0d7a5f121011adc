"""Where recordings come from. `folders.open_source` finds out what a source is and gives its entries.

folders    a folder, a file, a hub id: which reader         entries    what every source gives
listed     entries out of a table                           tables     CSV with or without a header, JSON; records: quotation marks
columns    which column is what, by name                    evidence   and by what is in it
places     where the files are that a table names           layouts    transcripts of their own: pairs, VCTK, LibriTTS
arrow      hub, saved and parquet data sets                 codes      rows that are codes already
"""
