"""Checks of captions that look at the frames: similarity by CLIP, and numbers by a detector.

Start with `measure.py`. Both are optional and load a model on their first clip.
"""
