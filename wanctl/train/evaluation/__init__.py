"""What a run measures and shows of its networks between steps, shared out to the processes.

Start with `shared.py`.
"""
