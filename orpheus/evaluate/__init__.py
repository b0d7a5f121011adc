"""Measures how good speech is: judges, counts and compares, with intervals. `python -m orpheus.evaluate`

cli       the command              systems       what is judged: a model that speaks, or recordings
judges    words, naturalness,      tag_detector  whether a tag can be heard
          likeness                 scoring       a clip's figures, a system's figures, differences
report/   report.json, the page    statistics    bootstrap intervals      options    every setting
"""
