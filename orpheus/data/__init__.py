"""Recordings to training examples: found, measured, judged, split, encoded.

sources/      entries of a folder, a table, a hub data set        measure     what can be measured of a recording
recordings    entries that passed the checks                      checks      what makes a recording unfit
splitting     long recordings cut at pauses                       examples    recordings encoded, as token ids
alignment     which pause ends which sentence, and how sure       options     every setting
naming        names that transcripts begin with                   model_tokens  what the ids of a model mean
report        what was found and what was left out, and why       overview    the same before a model is there
measuring     entries measured, what is known from the cache
"""
