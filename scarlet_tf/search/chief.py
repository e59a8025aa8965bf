"""A search's chief: KerasTuner's service, ended when the search has, whatever became of its workers."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from scarlet_tf.cluster import is_loopback, search_address
from scarlet_tf.errors import InputError
from scarlet_tf.search.shared_oracle import SharedOracle

logger = logging.getLogger("scarlet_tf")
POLL_SECONDS = 0.2
FAREWELL_SECONDS = 10.0  # for workers to hear of the end; an idle one asks every 2 seconds
LAST_ANSWERS_SECONDS = 600.0  # for those that have a model in hand when the time is up
ROUND_SECONDS = 2.0  # of KerasTuner's service, in which it notices that it is not needed any more


def serve(oracle: SharedOracle, service: Callable[[], None], progress: Callable[[], None]) -> None:
    """Runs KerasTuner's blocking `service` of `oracle` until the search is over and its workers know, or are lost.

    The service alone would wait for ever for a worker that was lost, and otherwise looks every 20 seconds. `progress`
    is called several times a second.
    """
    host, port = search_address()
    if not is_loopback(host):
        logger.warning(
            "the search's service at %s:%d is not encrypted: whoever listens on its way learns the search's secret, and"
            " whoever reaches that port can keep it busy; open it to trusted hosts alone",
            host,
            port,
        )
    failures: list[Exception] = []
    thread = threading.Thread(target=_collect, args=(service, failures), name="search-service", daemon=True)
    thread.start()
    over_since = None
    while over_since is None or (_expects_workers(oracle) and time.monotonic() - over_since < _patience(oracle)):
        if failures:
            raise InputError(f"KERASTUNER_ORACLE_IP: could not serve at {host}:{port}: {failures[0]}") from failures[0]
        if over_since is None and oracle.is_over():
            over_since = time.monotonic()
        progress()
        time.sleep(POLL_SECONDS)
    oracle.dismiss()
    thread.join(ROUND_SECONDS)  # the last answers are on their way


def _patience(oracle: SharedOracle) -> float:
    return LAST_ANSWERS_SECONDS if oracle.stopped and oracle.ongoing_trials else FAREWELL_SECONDS


def _expects_workers(oracle: SharedOracle) -> bool:
    return bool(oracle.tuner_ids or oracle.ongoing_trials)


def _collect(service: Callable[[], None], failures: list[Exception]) -> None:
    try:
        service()
    except Exception as error:
        failures.append(error)
