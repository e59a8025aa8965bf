"""Flip single bits in the files of a finished run and report the effects on its figures.

Works in a copy of the folder. After every flip, `scarlet verify --digests-only` and what `scarlet run` reads of a finished run
are called in this process; checkpoints, the journal and the network are also loaded as by a stage that resumes. If a stage
counts as not done, `scarlet run` really does it again, once for each file.
"""

import collections
import contextlib
import json
import logging
import pathlib
import shutil
import tempfile

import numpy as np

from scarlet_tf.base.errors import InputError
from scarlet_tf.config import check_run_dir, load_config
from scarlet_tf.data.datasets import load_dataset
from scarlet_tf.run import run_all, verify_run
from scarlet_tf.run.folder import Run, claim
from scarlet_tf.run.reporting import summarize
from scarlet_tf.run.stages import is_done, stages_of
from scarlet_tf.search.journal import Journal, read_lines
from scarlet_tf.training.checkpoints import Checkpoints, values_digest

# Files in which changes need not be detected, by the end of their paths.
NOT_CHECKED = {
    "run.log": "text for people, which nothing reads",
    "report.html": "made of checked files, and again by `scarlet report`; nothing reads it",
    ".csv": "for people; every figure comes from a result.json",
    ".png": "for people; the figures are in the result beside it",
}
WRONG = "WRONG"
# Entries that may differ between two summaries of one run.
_OF_THE_CALL = ("run_dir", "report", "warnings")


def flip_bits(run_dir, flips: int, seed: int, again: bool = True) -> dict:
    """Outcomes of `flips` flips, at places drawn by `seed`, each file as often as another.

    ok: there was no exception other than InputError, and no figure that differs without a message. files: {name: {what was
    said: how often}}. done_again: what came of stages that were repeated, where `again`. not_checked: reasons by name.
    """
    rng = np.random.default_rng(seed)
    outcomes = collections.defaultdict(collections.Counter)
    redone = {}
    with contextlib.ExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory())
        folder = pathlib.Path(shutil.copytree(run_dir, pathlib.Path(temporary) / "run"))
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
        whole = {name: (folder / name).read_bytes() for name in names}
        names = [name for name in names if whole[name]]
        subject = stack.enter_context(Subject(folder))
        for _ in range(flips):
            name = names[rng.integers(len(names))]
            damaged = bytearray(whole[name])
            damaged[rng.integers(len(damaged))] ^= 1 << rng.integers(8)
            (folder / name).write_bytes(damaged)
            said = subject.examine(name)
            outcomes[name]["; ".join(said)] += 1
            if again and name not in redone and "does again" in said[1]:
                (folder / name).write_bytes(damaged)
                redone[name] = _in_words(subject.do_again)
                for other, content in whole.items():
                    (folder / other).write_bytes(content)
            (folder / name).write_bytes(whole[name])
    words = [word for counts in outcomes.values() for word in counts] + list(redone.values())
    return {
        "ok": not any(WRONG in word for word in words),
        "files": {name: dict(outcomes[name].most_common()) for name in sorted(outcomes)},
        "done_again": redone,
        "not_checked": {name: reason for name in names for end, reason in NOT_CHECKED.items() if name.endswith(end)},
    }


class Subject:
    """A finished run's folder, whose images are read once, and its undamaged results."""

    def __init__(self, folder: pathlib.Path):
        self.folder, self.config = folder, load_config(folder / "config.yaml")
        self.data = load_dataset(self.config.data)
        self.messages = []
        self._handler = _Kept(self.messages)
        logging.getLogger("scarlet_tf").addHandler(self._handler)
        undone, self.figures = self._read()
        if undone or self.messages:
            raise InputError(f"{folder}: expected a finished run that nothing is said of, got {undone + self.messages}")
        self.checkpoints = {path: self._arrays(path) for path in sorted(folder.glob("*/checkpoint-*.npz"))}
        header, *self.records = read_lines(folder / "search" / "trials.jsonl")
        self.fingerprint = (header or {})["fingerprint"]

    def __enter__(self) -> "Subject":
        return self

    def __exit__(self, *_) -> None:
        logging.getLogger("scarlet_tf").removeHandler(self._handler)

    def examine(self, name: str) -> list[str]:
        """Results of verify, of `scarlet run` and, for some files, of a stage that resumes."""
        said = [f"verify {_in_words(self._verify)}", f"run {_in_words(self._resume)}"]
        loaders = {
            "checkpoint-": lambda: self._restore(name),
            "trials.jsonl": self._load_journal,
            "model.keras": self._load_network,
        }
        return said + [_in_words(load) for part, load in loaders.items() if part in name]

    def do_again(self) -> str:
        """Results of `scarlet run`, and of verify on them."""
        self.messages.clear()
        figures = run_all(self.config, self.folder)
        said = _compared(figures | {"seconds": self.figures["seconds"]}, self.figures, bool(self.messages))
        return f"{said}; then verify {_in_words(self._verify)}"

    def _run(self) -> Run:
        opened = Run(self.config, self.folder)
        opened.data = self.data
        return opened

    def _verify(self) -> str:
        found = verify_run(self.folder, digests_only=True)
        if not found["passed"]:
            return "fails"
        return "names what is not checked" if found["unchecked"] else "passes"

    def _read(self) -> tuple[list[str], dict]:
        """Names of the stages that `scarlet run` would do again, and its closing figures if there are none."""
        check_run_dir(self.folder, self.config)
        opened = self._run()
        claim(opened)
        undone = [stage.name for stage in stages_of(self.config) if not is_done(opened, stage)]
        return undone, {} if undone else summarize(opened)

    def _resume(self) -> str:
        self.messages.clear()
        undone, figures = self._read()
        if undone:
            return f"does again {', '.join(undone)}"
        says = bool(self.messages) or figures["warnings"] != self.figures["warnings"]
        return _compared(figures, self.figures, says)

    def _arrays(self, path: pathlib.Path) -> dict[str, np.ndarray]:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if name != "__meta__"}

    def _restore(self, name: str) -> str:
        """Restore the checkpoints of a stage."""
        self.messages.clear()
        path = self.folder / name
        held = {key: _Held(array) for key, array in self.checkpoints[path].items()}
        meta = Checkpoints(path.parent).restore(held) or {}
        found = path.with_name(f"checkpoint-{meta['step']:09d}.npz")
        if values_digest(one.array for one in held.values()) != values_digest(self.checkpoints[found].values()):
            return f"loads another checkpoint: {WRONG}"
        newest = found == max(path.parent.glob("checkpoint-*.npz"))
        return "loads the checkpoint" if newest else "loads the checkpoint before it"

    def _load_journal(self) -> str:
        self.messages.clear()
        journal = Journal(self.folder / "search" / "trials.jsonl", self.fingerprint)
        try:
            records = journal.open()
        finally:
            journal.close()
        if records == self.records:
            return "loads the journal"
        if self.messages and records == self.records[:-1]:
            return "drops the last line"
        return f"loads another journal: {WRONG}"

    def _load_network(self) -> str:
        stated = json.loads((self.folder / "retrain" / "result.json").read_text(encoding="utf-8"))["weights_sha256"]
        same = values_digest(self._run().network.weights) == stated
        return "loads the network" if same else f"loads another network: {WRONG}"


class _Kept(logging.Handler):
    """Log handler that keeps warnings."""

    def __init__(self, messages: list[str]):
        super().__init__(logging.WARNING)
        self.messages = messages

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


class _Held:
    """Stand-in for a variable that accepts an array."""

    def __init__(self, array: np.ndarray):
        self.shape, self.array = array.shape, np.zeros_like(array)

    def assign(self, value: np.ndarray) -> None:
        self.array = np.array(value)


def _in_words(call) -> str:
    try:
        return call()
    except InputError:
        return "refuses"
    except Exception as error:
        return f"{type(error).__name__}: {error}: {WRONG}"


def _compared(figures: dict, expected: dict, says: bool) -> str:
    def without(account: dict) -> str:
        return json.dumps({key: value for key, value in account.items() if key not in _OF_THE_CALL})

    if without(figures) == without(expected):
        return "shows the same figures and says so" if says else "shows the same figures"
    return "leaves out what is damaged and says so" if says else f"shows {without(figures)}: {WRONG}"
