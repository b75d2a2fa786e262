"""`make demo`: the five commands on three real clips, then a contact sheet of the samples.

Start with `__main__.py`; `contact_sheet.py` draws the image and compares samples with the clips.
"""
