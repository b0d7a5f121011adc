"""Recordings to shards of SNAC codes, in one process or on a cluster: `python -m orpheus.prepare`.

cli       the command line                       options    every setting
run       the steps of a run, in their order     checked    what was measured, kept so that a run can go on
shards    parts of the recordings, as files      on_ray     the same work on many machines
"""
