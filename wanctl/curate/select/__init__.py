"""Evidence to a selection: verdicts, crops, weights, quotas. Decodes nothing.

Start with `select.py`.
"""
