"""Parts of the model in this process: its files, what it takes, its weights, prompts and words.

Start with `interface.py`; `wanctl/vlm/transformers_model.py` puts the parts together.
"""
