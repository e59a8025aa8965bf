"""The secret of a search's chief and its workers, without which nobody takes or ends a trial.

KerasTuner's service and client take no credentials, but both hand identifiers on as they are: a worker's, which asks for a
trial, and a trial's, which is reported or ended. A worker appends the secret to them, and the chief's oracle refuses those
without it. It travels unencrypted, as all of the service does.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import os
import pathlib
import re
import secrets

from scarlet_tf.errors import InputError

FILE = ".secret"
_FORM = re.compile(r"[0-9a-f]{64}")


def chiefs_secret(folder) -> str:
    """Return the secret in `folder`, a chief's search, which is made where there is none; its owner alone may read it."""
    path = pathlib.Path(folder) / FILE
    try:
        known = path.read_text(encoding="ascii") if path.exists() else ""
        secret = known if _FORM.fullmatch(known) else secrets.token_hex(32)
        with contextlib.suppress(FileNotFoundError):
            os.chmod(path, 0o600)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii", newline="\n") as file:
            file.write(secret)
            file.truncate()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: could not be read and written: {error}") from error
    return secret


def workers_secret(folder) -> str:
    """Return the secret in `folder`, a worker's copy of the search or the chief's own."""
    path = pathlib.Path(folder) / FILE
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{path}: expected the secret of the search, {reason}; copy the file from search/ of the chief's run folder"
        ) from error


def digest(secret: str) -> str:
    """Return what may be known of a secret: it tells secrets apart, and none can be found from it."""
    return hashlib.sha256(secret.encode()).hexdigest()[:16]


def sealed(identifier: str, secret: str) -> str:
    """Return an identifier with the secret."""
    return f"{identifier} {secret}"


def opened(text: str, secret: str) -> str:
    """Return the identifier that was sealed with `secret`; InputError for anything else."""
    identifier, _, found = text.rpartition(" ")
    if not hmac.compare_digest(found.encode(), secret.encode()):
        raise InputError("expected the secret of this search with the request, got none or another one")
    return identifier
