"""Footage, the data set directory, and what training reads from them."""
