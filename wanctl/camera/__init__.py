"""Camera paths: read from files, made from moves, and turned into rays for a transformer.

Axes are those of OpenCV: x right, y down, z forward. Start with `paths.py`.
"""
