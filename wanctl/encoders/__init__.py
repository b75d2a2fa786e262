"""Text encoders (umT5, MiniLM) and CLIP's vision tower. Start with `text.py`."""
