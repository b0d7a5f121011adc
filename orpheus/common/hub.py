"""The Hugging Face hub: fetching, pushing, and plain words for why something failed."""

import errno
import os
from pathlib import Path

from orpheus.common.errors import CheckpointError, InputError
from orpheus.common.files import restore
from orpheus.common.options import ORPHEUS_3B
from orpheus.common.places import OURS
from orpheus.common.stored import read_json  # noqa: F401 (part of this module's face)


def brief(error):
    """An error's message on one line, cut short: some libraries append whole pages."""
    return " ".join(str(error).split())[:300]


def _chain(error):
    """The error and those that caused it."""
    seen = []
    while error is not None and error not in seen:
        seen.append(error)
        error = error.__cause__ or error.__context__
    return seen


def _is_disk_full(error):
    return any(isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT) for e in _chain(error))


def _status(error):
    """The HTTP status behind an error, or None."""
    responses = (getattr(e, "response", None) for e in _chain(error))
    return next((response.status_code for response in responses if response is not None), None)


def reason_of(error):
    """Why huggingface_hub or `datasets` failed: one line without a full stop.

    `datasets` replaces the hub's errors with DatasetNotFoundError and ConnectionError, so the message is searched too.
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
        return f"access was refused ({status}): set HF_TOKEN to a token that can read it"
    offline = (hub.LocalEntryNotFoundError, hub.OfflineModeIsEnabled, ConnectionError, TimeoutError)
    network = any("Connect" in type(e).__name__ or "Timeout" in type(e).__name__ for e in chain)
    if caught(*offline) or network or (isinstance(error, OSError) and status is None):
        return "the hub cannot be reached, and not all of the files are in the local cache"
    return f"{type(error).__name__}: {text}".rstrip(".")


_CURE = (
    "What to try: a local folder (--model FOLDER, --codec FOLDER); HF_TOKEN=... for a gated or private repository; "
    "HF_HUB_OFFLINE=1 to use only what is already downloaded; --model demo for the small voice, which needs no download"
)


def fetch(repo_id, patterns):
    """The local folder of a hub repository, downloaded if need be. Raises CheckpointError: why, and what to do."""
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(repo_id, allow_patterns=list(patterns)))
    except hub.HFValidationError as error:
        raise InputError(f"{repo_id!r} is neither a folder here nor a hub id like {ORPHEUS_3B}") from error
    except Exception as error:  # the client raises its own errors, those of httpx or requests, and OSError
        raise CheckpointError(
            f"{repo_id} cannot be fetched from the Hugging Face hub: {reason_of(error)}. {_CURE}"
        ) from error


def cached(repo_id):
    """The folder of a hub repository's model in the local cache, or None: nothing is fetched."""
    from huggingface_hub import errors, try_to_load_from_cache

    try:
        found = try_to_load_from_cache(repo_id, "config.json")
    except errors.HFValidationError:
        return None
    return Path(found).parent if isinstance(found, str) else None


def locate(source, patterns):
    """The local folder for a path or a hub id."""
    path = Path(source).expanduser()
    restore(path)
    if path.is_dir() and str(source):
        return path
    looks_like_path = str(source).startswith((".", "/", "~", os.sep)) or str(source).count("/") != 1 or path.exists()
    if looks_like_path or not str(source):
        raise InputError(
            f"{str(source)!r} is not a folder; give a folder that exists, a hub id like {ORPHEUS_3B}, or 'demo'"
        )
    return fetch(str(source), patterns)


def check_push(repo):
    """Checks, before training, that we are logged in to the hub and can write to `repo`."""
    from huggingface_hub import HfApi

    if not repo:
        raise InputError("--push-to-hub needs --hub-repo NAME/REPOSITORY")
    try:
        api = HfApi()
        api.whoami()
        api.create_repo(repo, exist_ok=True, private=True)
    except Exception as error:  # the client raises its own errors, those of httpx or requests, and OSError
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"--push-to-hub: {repo} cannot be written ({reason}). Set HF_TOKEN to a token with write access, or leave out the flag"
        ) from error


def push(repo, folder):
    from huggingface_hub import HfApi

    return HfApi().upload_folder(repo_id=repo, folder_path=str(folder), ignore_patterns=[f"{OURS}/*"])
