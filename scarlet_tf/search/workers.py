"""A search of several processes: the chief's service, a worker's way to it, and what tells both that they belong together.

KerasTuner's service and client take no credentials, but both hand identifiers on as they are: a worker's, which asks for a
trial, and a trial's, which is reported or ended. A worker appends the search's secret to them, and the chief's oracle refuses
those without it. It travels unencrypted, as all of the service does.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import functools
import hashlib
import hmac
import json
import logging
import os
import pathlib
import re
import secrets
import socket
import time

import grpc
from keras_tuner.engine.trial import Trial

from scarlet_tf.base.cluster import PATIENCE_SECONDS, search_address
from scarlet_tf.base.errors import InputError
from scarlet_tf.search.journal import first_difference
from scarlet_tf.search.trials import group_of
from scarlet_tf.training.checkpoints import values_digest

logger = logging.getLogger("scarlet_tf")
PAUSE_SECONDS = 0.5
QUIET_SECONDS = 1.0  # after this long without an answer, the chief is looked for before it is called
IDENTITY = "search_identity"  # the fixed hyperparameter that brings a chief's identity to its workers
SECRET = ".secret"  # the file with the secret, in the search's folder
_NAMED = ("create_trial", "update_trial", "get_trial", "end_trial")  # begin with an identifier, or with a trial
_FORM = re.compile(r"[0-9a-f]{64}")


class PatientClient:
    """Stands in for KerasTuner's OracleClient `client` and repeats calls that a dying chief left unanswered.

    A chief knows its trials again after a restart, and to end one twice changes nothing, so every call may be repeated.
    KerasTuner itself waits an hour for a chief that is gone; here that ends after `patience` seconds.
    The trials of a group that the chief handed out are handed on one after another, without asking for each.

    Raises RuntimeError when no chief answers in time, and when the chief fails to do what it is asked.
    """

    def __init__(self, client, patience: float = PATIENCE_SECONDS):
        self._client, self._patience = client, patience
        self.secret: str | None = None  # that calls which take or end trials carry, see the top of this file
        self._address = search_address()
        self._answered = -QUIET_SECONDS
        self._group: collections.deque = collections.deque()  # trials in hand that have not begun
        self._trial: Trial | None = None  # the one that has begun

    def create_trial(self, tuner_id: str):
        """Return the next trial of the group in hand; without one, what the chief hands out."""
        if not self._group:
            self._group.extend(group_of(self._call("create_trial", tuner_id)))
        self._trial = self._group.popleft()
        return self._trial

    def get_trial(self, trial_id: str):
        """Return a trial: the one in hand as it was handed out, without asking, as KerasTuner looks at each before it reports."""
        in_hand = self._trial is not None and self._trial.trial_id == trial_id
        return self._trial if in_hand else self._call("get_trial", trial_id)

    def drop_group(self) -> None:
        """Forget the rest of the group in hand, which the chief takes back from a worker whose trial failed."""
        self._group.clear()

    def __getattr__(self, name):
        value = getattr(self._client, name)
        if not callable(value):
            return value
        return functools.partial(self._call, name)

    def _call(self, name, *args, **kwargs):
        method = getattr(self._client, name)
        if name in _NAMED and self.secret is not None:
            args = (self._sealed(args[0]), *args[1:])
        deadline = time.monotonic() + self._patience
        while True:
            self._find_chief(deadline)
            try:
                answer = method(*args, **kwargs)
            except grpc.RpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > deadline:
                    raise RuntimeError(f"search: {self._where()}: {error.details()}") from error
                logger.warning("%s does not answer; asking again", self._where())
                self._answered = -QUIET_SECONDS
                time.sleep(PAUSE_SECONDS)
            else:
                self._answered = time.monotonic()
                return answer

    def _sealed(self, named):
        """A worker's or trial's identifier, or a copy of a trial, with the secret."""
        assert self.secret is not None
        if isinstance(named, str):
            return sealed(named, self.secret)
        trial = copy.copy(named)
        trial.trial_id = sealed(named.trial_id, self.secret)
        return trial

    def _find_chief(self, deadline: float) -> None:
        """Waits until something listens at the chief's address."""
        if time.monotonic() - self._answered < QUIET_SECONDS:
            return
        while True:
            try:
                socket.create_connection(self._address, timeout=5).close()
                return
            except OSError as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"search: {self._where()} cannot be reached for {self._patience:g} s: {error}"
                    ) from error
            time.sleep(PAUSE_SECONDS)

    def _where(self) -> str:
        return "the chief at {}:{}".format(*self._address)


def identity(oracle, supernet=None) -> dict:
    """The oracle's fingerprint, without the libraries that draw, and a digest of the supernet's weights, in plain JSON types.

    A worker draws nothing. The weights are no part of the fingerprint, since a journal lies beside them; a worker may read a
    copy of them.
    """
    weights = None if supernet is None else values_digest(supernet.variables)
    own = {key: value for key, value in oracle.fingerprint().items() if key != "draws"}
    return json.loads(json.dumps({**own, "supernet_weights": weights}))


def check_identity(own: dict, chief_space, address: str) -> None:
    """Refuse another search than the one whose `get_space()` is `chief_space`, naming the first key that differs."""
    text = chief_space.values.get(IDENTITY)
    if text is None:
        raise InputError(f"search: expected a chief of this package at {address}, got another service")
    if difference := first_difference(json.loads(text), own):
        raise InputError(
            f"search: the chief at {address} is at work on another search: {difference} here; "
            "start this worker with the chief's configuration and run folder"
        )


def chiefs_secret(folder) -> str:
    """Return the secret in `folder`, a chief's search, which is made where there is none; its owner alone may read it."""
    path = pathlib.Path(folder) / SECRET
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
    path = pathlib.Path(folder) / SECRET
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
