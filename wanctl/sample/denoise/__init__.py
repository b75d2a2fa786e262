"""From requests to latents: batches, their noise, and the transformer that computes their steps.

Start with `batches.py`; `wanctl/sample/pipeline.py` runs them.
"""
