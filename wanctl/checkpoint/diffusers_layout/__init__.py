"""What diffusers stores otherwise than official files, besides the names of its tensors.

Start with `configs.py`.
"""
