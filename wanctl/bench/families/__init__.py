"""One module per kind of defect: cases with exact truth, and how they are graded.

`wanctl/bench/table.py` lists them; `wanctl/bench/cases.py` defines a case.
"""
