"""`wanctl data caption-eval`: how well a captioner sees.

Start with `run.py`; `labelled/` compares with labels, `counterfactual/` changes clips.
"""
