"""The `motion` filter: six motion tiers. Start with `filter.py`."""
