"""FLOPs, memory, time and disk space of a run, estimated before anything is loaded (`--plan`).

Start with `report.py`; `plan.py` adds up stages, `flops.py` counts, `hardware.py` measures.
"""
