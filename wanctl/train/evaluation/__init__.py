"""What a run measures and shows of its networks between steps, shared out to the processes.

Start with `evaluator.py`; `signs.py` tells whether the run learns, `page.py` writes previews.html.
"""
