"""The built-in filters: one filter is one module, or one package of its name with module `filter`.

`shared/` holds parts that several filters use. filters/README.md explains how to write a filter.
"""
