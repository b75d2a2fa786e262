"""Several processes on one video: guidance, tokens, weights and pictures divided between them.

The model core is single-device code; what is here is put on it from outside, the same on gloo
(CPUs) and NCCL (GPUs).
"""
