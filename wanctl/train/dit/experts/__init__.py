"""The transformers of a run: one, or the two experts of Wan 2.2 A14B.

Start with `routing.py`, which says which expert learns in a step and from which noise levels;
`transformers.py` holds the networks and writes them.
"""
