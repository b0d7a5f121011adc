"""Where recordings come from. `folders.open_source` finds out what a source is and gives its entries.

folders    a folder, a file, a hub id: which reader    tables    CSV, LJSpeech, JSON lines
arrow      hub, saved and parquet data sets            entries   what every source gives; how columns are found
"""
