"""Training of the VAE and the transformer: one loop, one objective per command.

Start with `loop.py` and `objective.py`, the interface between the loop and what it trains. `vae/`
and `dit/` implement it, each with its command's run module; `inputs/` makes the batches and
`networks/` takes an optimizer step with each network of an objective.
"""
