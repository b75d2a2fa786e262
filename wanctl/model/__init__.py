"""Networks only, each on a single device: the transformer (`dit/`) and the video VAE (`vae/`).

`variant_table.py` lists every model by name (VARIANTS, torch-free), `variants.py` says what a row
holds, `shapes.py` converts between sizes in pixels, latents and tokens. Start with the table, then
`dit/transformer.py`.
"""
