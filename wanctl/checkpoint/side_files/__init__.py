"""What is read beside the files of a model; start with `identity.py`."""
