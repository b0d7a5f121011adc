"""What every package may use; no PyTorch, and nothing of this project's above.

errors      what can go wrong                     frame, tokens   the frame's numbers, token ids
options     checks of options, names, places      audio           sound in and out
files       files and folders written atomically  hub             what is fetched, and why it was not
progress    bars                                  command, help   how a command line begins and ends
encoders    sound in other formats, as it comes   sounds          sound as a file
missing     packages that are not installed
"""
