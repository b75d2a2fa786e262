"""The Wan diffusion transformer. Start with `transformer.py`; `blocks.py` holds its parts.

Parameter names are those of the published checkpoints.
"""
