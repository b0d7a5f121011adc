"""A voice as files that others load. `python -m orpheus.export` writes what is asked for; read folder.py first.

adapter        the adapter's folder with its card              gguf             GGUF files, block by block
merged         base and adapter as one 16-bit model            gguf_metadata    what they say of themselves, vocabulary
generations    configurations for transformers 4 and 5         llama            what llama.cpp's Llama can hold
weights        a model's weights, an adapter merged into       quantizer        llama.cpp's own, for the kinds with a k
               them, block by block                            check            the same sentences through llama.cpp
folder, card   the export as a whole, and its README           options, cli     the command
"""
