"""VACE training: controls and masks drawn from footage, and control blocks on a text-to-video base.

Start with `kinds.py`, the table of what is drawn, and `start.py`, the networks.
"""
