"""The built-in filter pack: one module is one filter; the module name is its recipe name."""
