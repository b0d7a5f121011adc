"""Text in, speech out.

synthesis    OrpheusInference: the ways to speak, and Speech    model        from names to a loaded model
request      a text and its voice, checked, as utterances       streaming    tokens to audio as they arrive
reading      who says a text, and how it is read                reference    a voice from clips
retries      speaking again what went wrong                     announcing   who speaks, before anything is loaded
playing      through the loudspeakers                           subtitles    SRT and WebVTT
output       files, and what is said about them                 options      every speech setting
several      adapters of one base, whose weights are there once
"""
