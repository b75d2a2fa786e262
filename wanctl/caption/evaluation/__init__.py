"""`wanctl data caption-eval`: how well a captioner sees, by labels and by changed clips.

Start with `run.py`; `labels.py` to `scores.py` measure F1, `changes.py` to `ask.py` need no labels.
"""
