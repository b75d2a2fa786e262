"""Tasks: what is made of what. `table.py` lists them, `api.py` says what one is."""
