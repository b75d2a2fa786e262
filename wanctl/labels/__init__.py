"""What people mark on clips and the heads fitted on it: `wanctl filters label` and `fit`.

Start with `label.py` (the sheet and the page) and `fit.py`.
"""
