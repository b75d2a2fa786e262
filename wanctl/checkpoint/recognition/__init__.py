"""From files to rows of the registry, by their headers.

Start with `recognise.py` (which row a transformer or a LoRA is) and `model_choice.py` (which
network and run rule a recipe gets).
"""
