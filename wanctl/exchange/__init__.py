"""Data sets in and out: export in other trainers' layouts, and checks of data sets in any layout.

Start with `run.py`. Imports go one way: `run` -> `shards`, `check` -> `layouts` -> `index_files`
-> `sample`; `readers.py` recognises foreign layouts, which `external/` reads and
`imports/` makes data sets of. `chat/` writes conversations for trainers of captioners.
"""
