"""Files of weights: what a file is, reading pickles, writing safetensors. Start with `write.py`."""
