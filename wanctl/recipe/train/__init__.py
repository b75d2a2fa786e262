"""Parts of the sections `train_vae` and `train_dit`: the optimizer and the loss of the VAE.

Start with `vae_losses.py`; `optimizer.py` is shared by all networks that are trained.
"""
