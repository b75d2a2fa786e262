"""Training tasks: which inputs a window of footage gives to the model beside its text.

Start with `api.py` (what a training task is); `table.py` lists all of them.
"""
