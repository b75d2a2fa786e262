"""Networks of subjects and cameras that were made from Wan."""
