"""What every package may use; no PyTorch, and nothing of this project's above.

errors      what can go wrong                     frame, tokens   the frame's numbers, token ids
options     checks of options, names, places      audio           sound in and out
files       files and folders written atomically  hub             what is fetched, and why it was not
progress    bars                                  command         how a command line begins and ends
"""
