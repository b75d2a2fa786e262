"""The built-in filters. One filter is one module, or one package of its name with a `filter.py`.

`shared/` holds what several filters use; filters/README.md says how to write one.
"""
