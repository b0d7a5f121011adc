"""SNAC's layers as Triton kernels. Nothing here is needed where there is no CUDA; each is tested against plain PyTorch."""
