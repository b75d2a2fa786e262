"""Text encoders (umT5, MiniLM), CLIP's vision tower, and the encoders of a task's inputs.

Start with `text.py`; `task_inputs.py` encodes images and videos.
"""
