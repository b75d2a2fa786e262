"""report.html: what came in, what was dropped and why, in one file that needs no server."""
