"""The step's operations as Triton kernels. Nothing here is needed where there is no CUDA."""
