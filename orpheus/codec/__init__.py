"""SNAC: sound to codes and back, whole, in windows, and a frame at a time for many streams.

snac             class Codec: one clip or text at a time    encoder         many clips, each with the codes it has alone
stream_decoder   many streams, a frame of each per step     stream_layers   its layers in PyTorch; step: their input
noise            the decoder's noise, by position           precision       float32 without TF32
kernels/         the same layers for CUDA, in Triton
"""
