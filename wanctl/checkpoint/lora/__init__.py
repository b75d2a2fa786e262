"""LoRA files of every public layout, and applying them to a transformer. Start with `apply.py`."""
