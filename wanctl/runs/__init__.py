"""Run folders and data sets: how far each is, and which command comes next (`wanctl runs`).

Start with `run.py`; `progress.py` counts what is in a folder and writes nothing.
"""
