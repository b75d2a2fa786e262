"""Parts that several filters use: embedders, heads, bars, crops. No filter lives here."""
