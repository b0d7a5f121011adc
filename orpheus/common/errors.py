"""What can go wrong, in one place.

OrpheusError            base of all; its message is meant for the user: the value, the limit, the cure
├── InputError          a text, option or file that cannot be used (also a ValueError)
├── CheckpointError     a model, codec, tokenizer or adapter that cannot be loaded or does not fit
├── OutputError         a result that cannot be written (also an OSError)
├── BusyError           a pool of streams whose queue is full: try again later
├── StoppedError        training was stopped by Ctrl-C, its state saved
└── WorseError          training ended, and what it made is no better than what it began with
OrpheusWarning          speech was made, but something about it should be known
"""


class OrpheusError(Exception):
    status = 2  # of the program that it ends


class InputError(OrpheusError, ValueError):
    pass


class CheckpointError(OrpheusError):
    pass


class OutputError(OrpheusError, OSError):
    pass


class BusyError(OrpheusError):
    pass


class OrpheusWarning(UserWarning):
    pass


class StoppedError(OrpheusError):
    status = 130


class WorseError(OrpheusError):
    status = 3
