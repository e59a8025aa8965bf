"""Role of this process among several: TF_CONFIG in a training, KerasTuner's variables where they share out many small jobs.

No TensorFlow is imported here.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import logging
import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from scarlet_tf.base.errors import InputError

logger = logging.getLogger("scarlet_tf")
T = TypeVar("T")

VARIABLE = "TF_CONFIG"
SEARCH_VARIABLES = ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT")
SHARED = ("search", "race", "rank")
"""Commands of a chief and its workers."""
PAUSE_SECONDS = 1.0
FAILED = ".failed"  # a worker's error in the folder of its job, until a worker begins anew
GRACE_SECONDS = 60.0  # of a chief: workers are started again
PATIENCE_SECONDS = 600.0  # of a worker: a chief loads its dataset and supernet before it begins
_EXAMPLE = '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'


@dataclasses.dataclass(frozen=True)
class Cluster:
    """`tasks`: every (type, index) of the job; `own`: that of this process."""

    tasks: tuple[tuple[str, int], ...] = (("worker", 0),)
    own: tuple[str, int] = ("worker", 0)

    @property
    def is_chief(self) -> bool:
        """True if this process writes: it is the task named chief, or else worker 0."""
        return self.own == (("chief", 0) if ("chief", 0) in self.tasks else ("worker", 0))


def read_tf_config(text: str | None = None) -> Cluster:
    """The cluster that TF_CONFIG (or `text`) describes; one worker without it. InputError when it is malformed."""
    text = os.environ.get(VARIABLE, "") if text is None else text
    if not text.strip():
        return Cluster()
    try:
        config = json.loads(text)
    except ValueError as error:
        raise InputError(f"{VARIABLE}: expected JSON such as {_EXAMPLE}, got {text[:80]!r}: {error}") from error
    cluster = config.get("cluster", {}) if isinstance(config, dict) else None
    if not isinstance(cluster, dict):
        raise InputError(f"{VARIABLE}: expected an object such as {_EXAMPLE}, got {text[:80]!r}")
    if not cluster:
        return Cluster()
    for kind, addresses in cluster.items():
        _check_addresses(kind, addresses)
    return Cluster(tuple((kind, i) for kind in cluster for i in range(len(cluster[kind]))), _own(config, cluster))


def _check_addresses(kind: str, addresses) -> None:
    if kind not in ("chief", "worker"):
        raise InputError(f"{VARIABLE}: cluster: expected the task types chief and worker, got {kind!r}")
    whole = isinstance(addresses, list) and addresses and all(map(_is_address, addresses))
    if not whole or (kind == "chief" and len(addresses) > 1):
        wanted = 'a list of one "host:port"' if kind == "chief" else 'a list of "host:port"'
        raise InputError(f"{VARIABLE}: cluster.{kind}: expected {wanted}, got {addresses!r}")


def _is_address(text) -> bool:
    host, _, port = text.rpartition(":") if isinstance(text, str) else ("", "", "")
    return bool(host) and port.isdecimal()


def _own(config: dict, cluster: dict) -> tuple[str, int]:
    task = config.get("task")
    kind, index = (task.get("type"), task.get("index")) if isinstance(task, dict) else (None, None)
    if not isinstance(kind, str) or kind not in cluster:
        raise InputError(f"{VARIABLE}: task.type: expected one of {sorted(cluster)}, got {kind!r}")
    if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(cluster[kind]):
        raise InputError(
            f"{VARIABLE}: task.index: expected an integer from 0 to {len(cluster[kind]) - 1}, got {index!r}"
        )
    return kind, index


def search_role() -> Literal["alone", "chief", "worker"]:
    """Role of this process in a search by KerasTuner's variables; InputError if only some of them are set.

    As in KerasTuner, there is a chief if KERASTUNER_ORACLE_IP is set, and an id with "chief" in it is the chief's.
    """
    if os.environ.get("KERASTUNER_ORACLE_IP") is None:
        return "alone"
    tuner_id, ip, port = (os.environ.get(name, "") for name in SEARCH_VARIABLES)
    for name, value in zip(SEARCH_VARIABLES, (tuner_id, ip, port), strict=True):
        if not value:
            raise InputError(f"{name}: expected a value where KERASTUNER_ORACLE_IP is set, got none")
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise InputError(f"KERASTUNER_ORACLE_PORT: expected a port from 1 to 65535, got {port!r}")
    return "chief" if "chief" in tuner_id else "worker"


def search_address() -> tuple[str, int]:
    """(host, port) of the search's chief, if `search_role` is not "alone"."""
    return os.environ["KERASTUNER_ORACLE_IP"], int(os.environ["KERASTUNER_ORACLE_PORT"])


def is_loopback(host: str) -> bool:
    """True if `host` is an address that only this machine reaches."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_writer(stage: str) -> bool:
    """True if this process, of several, writes the run folder in `stage`, a command's name."""
    return search_role() != "worker" if stage in SHARED else read_tf_config().is_chief


def share(
    jobs: Sequence[T], place: Callable[[T], pathlib.Path], is_done: Callable[[T], bool], do: Callable[[T], None]
) -> None:
    """Do all jobs that are not done: in this process, or, if it is a chief or a worker, in whichever worker comes to them first.

    Every process calls this with the same jobs, and it returns when all are done. A chief only waits. Others lock the folder
    `place(job)`, which all processes see, while they do the job; a process that dies loses the lock, and another one does the
    job again. is_done: reads what the job leaves in files. Raises InputError in a worker for a file system without locks, and in
    the chief where a worker's job ended with an InputError and no worker began anew within a minute.
    """
    from scarlet_tf.base.files import locked, write_text  # whose libraries `scarlet --help` does without

    role, told, failed_at = search_role(), False, 0.0
    marks = [place(job) / FAILED for job in jobs]
    if role != "chief":
        for mark in marks:
            mark.unlink(missing_ok=True)
    while missing := [job for job in jobs if not is_done(job)]:
        began = False
        for job in missing if role != "chief" else ():
            with locked(place(job), needed=role != "alone") as is_ours:
                if is_ours and not is_done(job):
                    began = True
                    try:
                        do(job)
                    except InputError as error:
                        if role == "worker":
                            write_text(place(job) / FAILED, str(error))
                        raise
            if began:  # others may have ended meanwhile
                break
        if began:
            continue
        if not told:
            text = "waiting for other processes, which have %d of %d jobs in hand or still to begin"
            logger.info(text, len(missing), len(jobs))
            told = True
        if failed := next((mark for mark in marks if mark.exists()), None) if role == "chief" else None:
            failed_at = failed_at or time.monotonic()
            if time.monotonic() - failed_at > GRACE_SECONDS:
                raise InputError(f"a worker ended with an error: {failed.read_text(encoding='utf-8')}")
        else:
            failed_at = 0.0
        time.sleep(PAUSE_SECONDS)


def wait_for(path: pathlib.Path) -> None:
    """Wait, in a worker, for a file that its chief writes; InputError if it is not there after ten minutes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise InputError(
                f"{path}: expected from the chief within {PATIENCE_SECONDS:g} s; start the chief, then this worker"
            )
        time.sleep(PAUSE_SECONDS)


def check_no_limit(hours: float | None, key: str) -> None:
    """Refuse a limit on the time of jobs that processes share: each would count from its own start."""
    if hours is not None and search_role() != "alone":
        raise InputError(f"{key}: expected none where a chief and its workers share the trainings, got {hours:g}")
