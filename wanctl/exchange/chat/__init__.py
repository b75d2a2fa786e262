"""Captions as conversations, for trainers of vision-language models: `wanctl data caption-export`.

Start with `run.py`; `confirmed.py` says which captions count, `pairs.py` makes conversations of
them, `files.py` writes them as LLaMA-Factory and ms-swift read them.
"""
