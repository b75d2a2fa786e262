"""Public labelled sets, read in the layout in which they are published.

`sets.py` lists them by name; `shot_boundaries.py`, `konvid.py` (quality) and `camerabench.py`
(camera motion) each read one kind of label.
"""
