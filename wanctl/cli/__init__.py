"""The command line: each command reads the recipe and calls one `run`."""
