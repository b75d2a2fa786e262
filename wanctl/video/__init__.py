"""Footage: probe, decode, seek, frame sampling, encode; decoding workers that may be killed.

Start with `probe.py` (what a file is), `decode.py` (frames of a clip) and `workers/worker_pool.py`.
"""
