"""`make demo`: the five commands on three real clips, then a contact sheet of the samples."""
