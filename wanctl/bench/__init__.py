"""`wanctl filters bench`: injected defects of known strength, and what filters make of them.

Start with `run.py`; `families/` holds one kind of defect per module, `table.py` lists them.
"""
