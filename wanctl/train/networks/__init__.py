"""Networks while they are trained: what each has of its own, and the step that updates them.

Start with `step.py`, one optimizer step; `trained.py` holds a network's optimizer and averages.
"""
