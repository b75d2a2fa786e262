"""report.html of a curation, its charts and thumbnails, and the data card. Start with `page.py`."""
