"""An engine that another program runs: prompt ids go to its server, token ids come back as they are drawn.

client      HTTP: streams of events, and every failure in words
dialects    what each kind of server is sent and answers     finding    which kind a server is
spelling    ids as text, for servers that take only that     engine     the Engine: requests side by side, lost connections resumed
"""
