"""Makes a selection from evidence: verdicts, crops, weights, balance. Decodes nothing.

Start with `select.py`.
"""
