"""Other software, measured beside this project: `snac_package` encodes, `generate` and `streams` speak, `train` trains.

What replaces parts of transformers or takes the memory runs in a process of its own (`process`): `generate_process`, `unsloth`.
"""
