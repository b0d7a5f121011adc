"""Serves many listeners at once.

pool            many texts to streams of audio, on one device; read it first
pooled          one of them, as its caller gets it

`python -m orpheus.server` runs a process that talks to clients, without PyTorch, and starts others:

cli, options    the command line                             running     uvicorn, the greeting, the end
app             the paths, and the gate before them          schemas     what a request may say
speaking        a request on its way to speech               responses   speech as bytes, events, a file
websocket       text that is still being written             wyoming     Home Assistant
auth, limits    who may ask, and how much                    failures    why not
voices          which models and voices there are            words       when each word is said
sound           another speed, and the format                metrics     what is counted
transport       connections with limits                      journal     the log
sentences       text that is still being written, cut
preparing       the processes that read texts
engine_process  the process that speaks                      engine      the same, as the others see it
warming         what is done before the first text           link        a connection between two processes
fronts          several processes that talk to clients       front       one of them
joined          engines that others started, as it sees them
"""
