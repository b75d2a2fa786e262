"""Writes captions for clips: from sidecar files, from measurements, or with a model.

Start with `run.py`; `backends.py` defines what a captioner is and how plug-ins are found,
`structured/` what a vision-language model is asked.
"""
