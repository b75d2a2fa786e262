"""Tasks of the Fun family: a control video, and a camera path. Start with `control.py`."""
