"""What the report's page knows of each clip that it shows, as JSON for its scripts.

Start with `clip_records.py`; the other modules read what it puts together.
"""
