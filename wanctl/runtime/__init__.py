"""How a network runs: attention kernels, 8-bit layers, block streaming, VAE tiling, placement.

Start with `placement.py`, which applies a recipe's choices to a loaded transformer.
"""
