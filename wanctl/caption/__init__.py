"""Captioning: give every clip its words."""
