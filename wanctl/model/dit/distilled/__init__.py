"""Networks of distilled models: MeanFlow's, and sparse attention. Start at `sparse.py`."""
