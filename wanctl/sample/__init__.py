"""`wanctl sample`: prompts and input files to videos and images.

Start with `run.py` (recipe to requests), then `pipeline.py` (requests to latents to files).
"""
