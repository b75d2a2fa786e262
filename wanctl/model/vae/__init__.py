"""The causal video VAEs of Wan 2.1 and 2.2.

Start with `autoencoder.py`; `wan22.py` is the encoder and decoder of Wan 2.2. `tiny_decoder.py` and
`tiny_encoder.py` are small networks for the latents of either, `tiny_vae.py` both in the place of a
VAE. `ops/` holds convolutions and norms that compute the plain result faster.
"""
