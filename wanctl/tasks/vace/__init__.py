"""VACE: control, in- and outpainting, extension and references. Start with `task.py`."""
