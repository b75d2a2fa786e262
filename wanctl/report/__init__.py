"""report.html, its charts and thumbnails, and the data card; start with `run.py` and `page.py`."""
