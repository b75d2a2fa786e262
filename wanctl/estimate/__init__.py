"""FLOPs, memory and time of a run before anything is loaded: `wanctl sample --plan`.

Start with `report.py`.
"""
