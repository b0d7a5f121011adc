"""The fast engine: a hand-written Llama step.

engine    class FastEngine         slots    sequences that join and leave between steps
llama     one step, in PyTorch     head     from the last layer to the next token
adapters  several on one model, each row with its own
kernels/  the same for CUDA, in Triton
"""
