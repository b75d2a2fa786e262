"""Long videos clip by clip. Start with `loop.py`; `seams.py` measures what clips do to colours."""
