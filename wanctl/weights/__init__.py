"""Weights in and out: other layouts and number formats, what files hold, whether they are whole."""
