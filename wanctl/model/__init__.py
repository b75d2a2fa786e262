"""The one model core: VAE, transformer, text encoder and their weights, on a single device."""
