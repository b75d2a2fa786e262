"""Which windows of which clips each training step samples, and which clips none samples.

Start with `plan.py`. `schedule.py` draws the bucket of a step, `systematic.py` its clips by weight;
`holdout.py` chooses the clips that training never sees.
"""
