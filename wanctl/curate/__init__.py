"""Curation: split footage into clips, measure them, decide, report."""
