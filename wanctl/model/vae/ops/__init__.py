"""Operations of the video VAE: causal convolution, upsampling, norm. Start with `conv.py`."""
