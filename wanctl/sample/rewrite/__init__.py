"""Rewrites prompts before they are sampled, by a language model or by rules.

Start with `rewriter.py`; `instructions.py` holds what the model is told, `checks.py` what its
answers are held against.
"""
