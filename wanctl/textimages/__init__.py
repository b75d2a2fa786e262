"""Images of written text whose captions quote the exact strings. Start with `run.py`.

`render.py` draws one part of a set from `strings.py`, `fonts.py`, `backgrounds.py` and
`drawing.py`, and `readback.py` checks with OCR that the text is legible.
"""
