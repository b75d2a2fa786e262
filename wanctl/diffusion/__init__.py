"""Mathematics over a model: noise levels, schedules, solvers, guidance. No files, no recipes.

Start with `generate.py` (noise to latents), then `flow.py` (flow matching) and `solvers.py`.
"""
