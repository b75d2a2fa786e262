"""Data sets on their way out and in: layouts of other trainers, checks, cards."""
