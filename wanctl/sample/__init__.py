"""Sampling: prompts to video and image files.

Start with `run.py` (the command), then `pipeline.py` (requests to latents to files).
"""
