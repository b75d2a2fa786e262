"""What a file is, before anybody decodes it: by its ending, and by its first bytes.

Start with `sniffing.py`; `endings.py` lists the endings that spare a look into the file.
"""
