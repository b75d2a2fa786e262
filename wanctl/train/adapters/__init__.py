"""What of a transformer is trained: all of it, chosen parameters, or an adapter on frozen weights.

Start with `prepare.py`; `layers.py` holds the adapter's layer (LoRA, rsLoRA, DoRA).
"""
