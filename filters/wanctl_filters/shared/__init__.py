"""What several filters use: embeddings, heads, bars, frame bursts. No filter lives here."""
