"""Public labelled sets, read in the layout in which they are published."""
