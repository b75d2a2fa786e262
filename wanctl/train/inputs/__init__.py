"""Training data: from a data set directory to the windows, latents and embeddings of a batch.

Start with `collect.py` (clips of the data set); `clipset.py` samples windows of them, `encode.py`
caches latents and text embeddings.
"""
