"""Many listeners at once.

pool    StreamPool: many texts to streams of audio on one device
"""
