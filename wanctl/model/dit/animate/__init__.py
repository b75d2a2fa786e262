"""Networks that move a character as a video shows. Start with `driven.py` (Animate 2)."""
