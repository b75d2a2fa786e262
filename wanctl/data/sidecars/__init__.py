"""Caption files that lie beside footage or in a folder of their own.

Start with `match.py`, which finds the files of each video; `texts.py` turns their content, or a
cell of another trainer's index, into captions.
"""
