"""What training minimises: the VAE's and the transformer's objectives.

Start with `base.py`, the interface to the loop; `dit.py` and `vae.py` implement it.
"""
