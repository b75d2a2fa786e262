"""Processes of one run: context, mesh, CFG and context parallel, FSDP2, VAE row parallel.

Start with `context.py`; `layout.py` chooses how many processes work along each axis;
`ray_actors.py` runs the parts of a data set on a Ray cluster.
"""
