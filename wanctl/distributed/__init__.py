"""Processes: context, mesh, guidance and context parallel, FSDP2, VAE rows.

Start with `context.py`.
"""
