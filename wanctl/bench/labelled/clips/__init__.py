"""Clips that a person labelled in a table of one's own, against every filter at once.

`labels.py` reads the table, `measures.py` says what counts as a detection, `decided.py` holds the
verdicts, `folds.py` judges thresholds on clips they were not set on. Start with `evaluate.py`.
"""
