"""Text in, speech out.

synthesis    OrpheusInference: the ways to speak, and Speech    model        from names to what speaks
request      a text and its voice, checked, as utterances       streaming    tokens as they come to audio
retries      what went wrong is spoken again                    options      every setting of speaking
"""
