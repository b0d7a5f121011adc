"""The step's operations as Triton kernels. Without CUDA nothing here is needed."""
