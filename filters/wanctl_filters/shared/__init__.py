"""Parts that several filters use: embedders, heads, bars, crops. No filter lives here.

Start with `embedders.py` (frames to vectors) and `heads.py` (vectors to scores and classes).
"""
