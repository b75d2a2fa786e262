"""What a scan finds out about a file besides its frames: their times, damage and truncation.

Start with `clock.py`.
"""
