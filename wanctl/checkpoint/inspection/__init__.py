"""What weight files hold, and whether it is whole and finite. Start with `inspect.py`."""
