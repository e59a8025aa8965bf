"""PatientClient: a worker's way to a chief that may be killed and started again."""

from __future__ import annotations

import copy
import functools
import logging
import socket
import time

import grpc

from scarlet_tf.cluster import search_address
from scarlet_tf.search.secret import sealed

logger = logging.getLogger("scarlet_tf")
PATIENCE_SECONDS = 600.0  # a chief loads its dataset and supernet before it answers
PAUSE_SECONDS = 0.5
_NAMED = ("create_trial", "update_trial", "get_trial", "end_trial")  # begin with an identifier, or with a trial
QUIET_SECONDS = 1.0  # after this long without an answer, the chief is looked for before it is called


class PatientClient:
    """Stands in for KerasTuner's OracleClient `client` and repeats calls that a dying chief left unanswered.

    A chief knows its trials again after a restart, and to end one twice changes nothing, so every call may be repeated.
    KerasTuner itself waits an hour for a chief that is gone; here that ends after `patience` seconds.

    Raises RuntimeError when no chief answers in time, and when the chief fails to do what it is asked.
    """

    def __init__(self, client, patience: float = PATIENCE_SECONDS):
        self._client, self._patience = client, patience
        self.secret: str | None = None  # that calls which take or end trials carry, see secret.py
        self._address = search_address()
        self._answered = -QUIET_SECONDS

    def __getattr__(self, name):
        value = getattr(self._client, name)
        if not callable(value):
            return value
        return functools.partial(self._call, value, name in _NAMED and self.secret is not None)

    def _call(self, method, seals, *args, **kwargs):
        if seals:
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
