"""SNAC's layers as Triton kernels. Without CUDA nothing here is needed; each is tested against plain PyTorch."""
