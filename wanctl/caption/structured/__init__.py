"""The structured pass: a JSON object per clip from its frames, then captions from it alone.

Start with `clip_steps.py`; `schema.py` holds the dimensions.
"""
