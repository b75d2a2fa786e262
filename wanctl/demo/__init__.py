"""`make demo`: the five commands on three real clips, then the samples beside the training clips.

Start with `__main__.py`. `footage.py` holds the clips and prompts, `stages.py` runs the commands
and measures their time, `nearest.py` compares samples with training windows, `table.py` and
`pictures.py` show the result.
"""
