"""Why the Hugging Face hub did not give something, in words."""

import errno


def brief(error):
    """An error's message on one line, without the pages that some libraries append."""
    return " ".join(str(error).split())[:300]


def _chain(error):
    """The error and those that led to it."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


def _is_disk_full(error):
    return any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT) for e in _chain(error))


def _status(error):
    """The HTTP status that was behind an error, or None."""
    responses = (getattr(e, "response", None) for e in _chain(error))
    return next((response.status_code for response in responses if response is not None), None)


def reason_of(error):
    """The reason behind an error of huggingface_hub or `datasets`, one line without a full stop.

    `datasets` replaces the hub's own errors by DatasetNotFoundError and ConnectionError, so their words count as well.
    """
    from huggingface_hub import errors as hub

    chain, text, status = _chain(error), brief(error), _status(error)

    def caught(*kinds):
        return any(isinstance(e, kinds) for e in chain)

    if _is_disk_full(error):
        return "the disk is full: free some space (Orpheus-3B takes 6.6 GB) or set HF_HOME to a larger disk"
    if caught(hub.GatedRepoError) or "gated dataset" in text:
        return "it is gated: accept its terms on its page and set HF_TOKEN"
    if caught(hub.RepositoryNotFoundError) or "doesn't exist on the Hub" in text or status == 404:
        return "there is no such repository, or it is private and HF_TOKEN is not set or lacks access"
    if status in (401, 403):
        return f"access is refused ({status}): set HF_TOKEN to a token that may read it"
    offline = (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError, TimeoutError)
    network = any("Connect" in type(e).__name__ or "Timeout" in type(e).__name__ for e in chain)
    if caught(*offline) or network or (isinstance(error, OSError) and status is None):
        return "the hub cannot be reached, and the files are not all in the local cache"
    return f"{type(error).__name__}: {text}".rstrip(".")
