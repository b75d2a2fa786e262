"""`wanctl data review`: a local page where people read, correct, accept and reject captions.

Start with `session.py`, which puts the parts together; `decisions.py` keeps what people decide,
`index.py` and `queries.py` find clips, `previews.py` makes them play, `http_server.py` and
`routes.py` answer the page in `assets/`.
"""
