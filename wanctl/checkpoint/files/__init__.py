"""Files of weights: what a file is, reading pickles, writing. Start with `tensor_files.py`."""
