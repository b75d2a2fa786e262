"""Which runs use which cached tensors of a data set, and what none uses any more.

Start with `use.py`; the cache itself is `wanctl.data.cache`.
"""
