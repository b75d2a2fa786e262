"""Measures of pictures and videos that training, evaluation and reports share.

Start with `perceptual.py`: the perceptual distance of images.
"""
