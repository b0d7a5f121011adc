"""What can go wrong, in one place.

OrpheusError            base of all; its message is for the user: the value, the limit, what to do
├── InputError          a text, option or file that cannot be used (also a ValueError)
├── CheckpointError     a model, codec, tokenizer or adapter that cannot be loaded or does not fit
├── OutputError         a result that cannot be written (also an OSError)
├── EndpointError       a server that is not reached, refuses, or answers what makes no sense
├── BusyError           a pool of streams whose queue is full: try again later
├── StoppedError        training was stopped by Ctrl-C, after its state was saved
└── WorseError          training ended, and what it made is no better than what it began with
OrpheusWarning          there is speech, but with something the user should know
"""


class OrpheusError(Exception):
    status = 2  # of the program that it ends


class InputError(OrpheusError, ValueError):
    pass


class CheckpointError(OrpheusError):
    pass


class OutputError(OrpheusError, OSError):
    pass


class EndpointError(OrpheusError):
    pass


class BusyError(OrpheusError):
    pass


class OrpheusWarning(UserWarning):
    pass


class StoppedError(OrpheusError):
    """Stopped by Ctrl-C, after the state was saved."""

    status = 130


class WorseError(OrpheusError):
    """The adapter is no better than what training began with."""

    status = 3
