"""Pictures of written text with the exact words as their captions."""
