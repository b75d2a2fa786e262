"""Labels that people give clips, and the heads fitted on them: `wanctl filters label` and `fit`.

Start with `run.py`; `sheet.py` is the CSV and `page.py` the HTML page that people label with.
"""
