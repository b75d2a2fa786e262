"""What a training step keeps in device memory, and what is recomputed or kept on the host instead.

Start with `apply.py`; nothing here changes a gradient.
"""
