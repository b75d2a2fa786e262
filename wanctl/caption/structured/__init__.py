"""The structured pass: a JSON object per clip from its frames, then captions from it alone.

Start with `steps.py`, the work on one clip; `schema.py` holds the dimensions, `structure_prompt.py`
and `caption_prompt.py` what a model is asked, `build.py` what the recipe sets.
"""
