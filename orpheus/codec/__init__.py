"""SNAC: audio to codes and back, all at once, in windows, or a frame at a time for many streams.

snac             class Codec: one clip or text at a time    encoder         many clips, with the codes each gets alone
stream_decoder   many streams, a frame of each per step     stream_layers   its layers in PyTorch; step: their input
noise            the decoder's noise, by position           precision       float32 without TF32
captured         a text's first windows on CUDA             graphs          work on CUDA, recorded once
kernels/         the same layers for CUDA, in Triton
"""
