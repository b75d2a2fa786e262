"""`wanctl filters bench`: how well each filter finds what was put in on purpose."""
