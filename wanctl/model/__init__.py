"""Networks only, each on a single device: the transformer (`dit/`) and the video VAE (`vae/`).

`variants.py` lists every model by name (VARIANTS, torch-free), `shapes.py` converts between sizes
in pixels, latents and tokens. Start with `variants.py`, then `dit/transformer.py`.
"""
