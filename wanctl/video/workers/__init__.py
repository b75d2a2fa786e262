"""Worker processes that decode footage and may be killed.

Start with `worker_pool.DecodePool`; `worker_main.py` is what a worker runs.
"""
