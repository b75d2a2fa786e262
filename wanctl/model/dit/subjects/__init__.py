"""Networks of subjects and cameras that were made from Wan; start with `recamera.py`."""
