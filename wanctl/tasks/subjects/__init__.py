"""Tasks that show given subjects or follow given points; start with `r2v.py`."""
