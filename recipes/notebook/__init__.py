"""The outputs that docs/quickstart.ipynb is stored with. `python -m recipes.notebook.run`."""
