"""F1 of each dimension against a labelled file. Start with `matching.py`."""
