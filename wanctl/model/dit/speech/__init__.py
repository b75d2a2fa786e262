"""S2V's network, which lets a person speak or sing. Start with `network.py`."""
