"""A run folder made by hand: what each stage would have written, with figures that are easy to recognise."""

import pathlib
from typing import Any

from tiny import tiny_space

from scarlet_tf.base.files import write_json, write_text
from scarlet_tf.report.record import Record, StageState
from scarlet_tf.report.views import SearchView
from scarlet_tf.results import (
    Certificate,
    Comparison,
    Dataset,
    InputSizes,
    MonitorRecord,
    NetworkResult,
    OptimizedResult,
    RaceResult,
    Ranking,
    SupernetResult,
    from_json,
)
from scarlet_tf.search.journal import format_line
from scarlet_tf.search.run import front_from

SPACE = tiny_space()
# Choices of the tiny space: 0 is E2K3, 1 is E3K5+SE, 2 is E2K7, 3 the skip. Layer 1 goes from 8 pixels to 4.
ARCHITECTURE = (1, 3, 0, 2)
CONFIG = """\
name: made
data: {source: digits, image_size: 8}
space:
  name: tiny
  stages: [{channels: 8, depth: 2, stride: 2}, {channels: 12, depth: 2, stride: 1}]
  choices:
    - {expansion: 2, kernel_size: 3}
    - {expansion: 3, kernel_size: 5, use_se: true}
    - {expansion: 2, kernel_size: 7}
    - {skip: true}
  stem_channels: 8
  stem_stride: 1
  first_channels: 8
  tail_channels: 16
supernet: {epochs: 3}
race: off
search: {upper_bounds: {multiply_adds: 0.4M}, population_size: 4, generations: 2}
"""
EVALUATED = {
    "3,3,3,3": (0.20, 100_000, 1_000),
    "1,3,0,2": (0.60, 300_000, 3_000),
    "1,1,1,1": (0.50, 390_000, 2_000),
}


def row(choices: str, **further) -> dict[str, Any]:
    """A network as pareto.json has it."""
    accuracy, multiply_adds, params = EVALUATED[choices]
    return {**further, "architecture": choices, "accuracy": accuracy, "multiply_adds": multiply_adds, "params": params}


def figures() -> dict[str, Any]:
    """Every file that the page reads, by its path in the folder."""
    front = {
        "evaluations": 8,
        "stopped": False,
        "hypervolume": [0.125, 0.25],
        "operators": {
            name: {
                "children": 8,
                "evaluated": 6,
                "failed": 0,
                "survived": 3,
                "front": front,
                "mean_accuracy_change": 0.0125,
            }
            for name, front in (("random", 1), ("prior", 4))
        },
        "search": {"directions": {"accuracy": "max", "multiply_adds": "min", "params": "max"}},
        "versions": {"scarlet_tf": "0.1.0"},
        "picks": [row("3,3,3,3", name="0"), row("1,3,0,2", name="1")],
        "pareto": [row("3,3,3,3"), row("1,3,0,2")],
    }
    epochs = [{"epoch": e, "loss": 2.0 - e / 2, "accuracy": (e + 1) / 10} for e in range(3)]
    watched = [
        {
            "epoch": e,
            "accuracies": [0.1 * e, 0.2 * e, 0.3 * e],
            "mean": 0.2 * e,
            "deviation": 0.08 * e,
            "skip_bias": None,
            "stability": None if e < 1 else 0.9,
        }
        for e in range(3)
    ]
    check = {"value": 4.0, "threshold": 2.0, "holds": True}
    return {
        "dataset.json": {
            "name": "digits",
            "classes": ["0", "1"],
            "examples": {"train": 30, "validation": 10, "test": 20},
            "fingerprint": "abc",
        },
        "timing.json": {"train-supernet": 12.0, "search": 3725.0},
        "supernet/result.json": {"history": epochs, "steps": 6},
        "supernet/monitor.json": {
            "panel": [[0, 0, 0, 0]] * 3,
            "examples": 10,
            "update_counts": [[6] * 4] * 4,
            "epochs": watched,
            "verdict": {"trusted": True, "text": "nothing speaks against the ranking", "checks": {"stability": check}},
        },
        "pareto.json": front,
        "ranking/result.json": {
            "tau": {name: {"tau": 0.75, "low": 0.5, "high": 0.9} for name in ("recalibrated", "running")},
            "networks": [
                {
                    "architecture": choices,
                    "multiply_adds": numbers[1],
                    "stand_alone": numbers[0] + 0.3,
                    "one_shot_recalibrated": numbers[0],
                    "one_shot_running": numbers[0] - 0.1,
                }
                for choices, numbers in EVALUATED.items()
            ],
        },
        "retrain/result.json": {
            "architecture": {"version": 1, "space": "tiny", "choices": list(ARCHITECTURE)},
            "pick": "best",
            "passed_over": [],
            "init": "supernet",
            "one_shot_accuracy": 0.6,
            "multiply_adds": 300_000,
            "params": 3_000,
            "folding": [],
            "test": {"accuracy": 0.875, "num_examples": 20},
            "validation": {"accuracy": 0.8, "num_examples": 10},
            "history": [{"epoch": 0, "loss": 1.0, "accuracy": 0.7, "val_accuracy": 0.8}],
        },
        "export/certificate.json": {
            "certificate_version": 2,
            "space_fingerprint": "abc",
            "passed": True,
            "seeds": {"run": 0},
            "dataset": {"name": "digits"},
            "architecture": {"string": "1,3,0,2", "space": "tiny", "choices": list(ARCHITECTURE)},
            "multiply_adds": 300_000,
            "params": 3_000,
            "files": [
                file("model_float32.tflite", 4096, 1),
                file("model_dynamic.tflite", 1024, 6),
                file("model_int8.tflite", 2048, 1),
            ],
            "other_files": [],
            "host": {"cores": 2},
            "versions": {"keras": "3.15"},
            "details": {
                "folding": [
                    {
                        "name": "block_2",
                        "rule": 2,
                        "saved_multiply_adds": 12_345,
                        "condition": None,
                        "reason": "",
                        "description": "merged into the convolution after it",
                    }
                ]
            },
        },
    }


def file(name: str, size: int, partitions: int, top1: float = 0.875, passed: bool = True) -> dict[str, Any]:
    """A file as the certificate has it."""
    found = {
        "num_images": 20,
        "top1": top1,
        "model_top1": 0.875,
        "top1_delta": top1 - 0.875,
        "agreement": 1.0,
        "max_logit_difference": 1e-6,
        "partitions": partitions,
        "checks": [
            {"name": "top-1", "expected": "a drop of at most 2 points", "found": "0.00 points", "passed": passed}
        ],
        "passed": passed,
    }
    return {"file": name, "bytes": size, "sha256": "f" * 64, "verification": found, "latency": None}


def write_run(folder: pathlib.Path, without=(), config: str = CONFIG) -> pathlib.Path:
    """The run folder, but for the files named `without`."""
    write_text(folder / "config.yaml", config)
    for name, content in figures().items():
        if name not in without:
            write_json(folder / name, content)
    trials = [{"trial": str(i), "architecture": name, "metrics": metrics(name)} for i, name in enumerate(EVALUATED)]
    lines = [format_line(line).decode() for line in ({"version": 2}, *trials)]
    write_text(folder / "search" / "trials.jsonl", "".join(lines))
    return folder


def metrics(choices: str) -> dict:
    return dict(zip(("accuracy", "multiply_adds", "params"), EVALUATED[choices], strict=True))


STAGES = ("train-supernet", "search", "retrain", "export")


def race(**changes) -> dict[str, Any]:
    """A race of three networks in two rungs, which the second one wins."""

    def entrant(name, kind, words, choices, score, accuracies, dropped):
        rungs = [{"steps": 4 * i + 4, "accuracy": value, "loss": 1.0} for i, value in enumerate(accuracies)]
        history = [{"epoch": epoch, "val_accuracy": value} for epoch, value in enumerate(accuracies)]
        about = {
            "name": name,
            "kind": kind,
            "words": words,
            "architecture": choices,
            "input_size": None,
            "score": score,
        }
        return {
            **about,
            "multiply_adds": 300_000,
            "params": 3_000,
            "rungs": rungs,
            "history": history,
            "dropped": dropped,
        }

    gain = {"against": "uniform", "kind": "rival", "gain": 0.02, "low": 0.01, "high": 0.03, "images": 400}
    return {
        "winner": "finalist_2",
        "judge": "float32",
        "goals": [4, 8],
        "steps_per_epoch": 4,
        "entrants": [
            entrant("finalist_1", "finalist", "finalist 1 of the search", "3,3,3,3", 0.7, [0.5], 1),
            entrant("finalist_2", "finalist", "finalist 2 of the search", "1,3,0,2", 0.6, [0.6, 0.9], None),
            entrant("uniform", "rival", "the uniform network", "1,1,1,1", 0.5, [0.55, 0.85], None),
        ],
        "gains": [{**gain, "only_first": 20, "only_second": 12, "needed": 300}],
        "verdict": ["better than the uniform network by 2.0 points (1.0 to 3.0)"],
        "tau": {"tau": -0.33, "low": -1.0, "high": 1.0, "networks": 3},
        "notes": ["few images"],
        **changes,
    }


SIZES = {
    "chosen": 8,
    "measured": [
        {
            "input_size": 6,
            "evaluations": 8,
            "accuracy": 0.5,
            "score": 0.4,
            "multiply_adds": 390_000,
            "architecture": "1,1,1,1",
        },
        {"input_size": 8, "evaluations": 9, "accuracy": 0.6, "multiply_adds": 300_000, "architecture": "1,3,0,2"},
    ],
}
"""Two input sizes that were searched."""


KINDS = {
    "race": RaceResult,
    "sizes": InputSizes,
    "dataset": Dataset,
    "supernet": SupernetResult,
    "monitor": MonitorRecord,
    "ranking": Ranking,
    "comparison": Comparison,
    "network": NetworkResult,
    "optimized": OptimizedResult,
    "certificate": Certificate,
}


def made_record(**changes) -> Record:
    """The same run as the page gets it; `changes` replace fields, results as what their files hold."""
    files = figures()
    fields = {
        "name": "made",
        "folder": pathlib.PurePosixPath("runs/made"),
        "space": SPACE,
        "image_size": 8,
        "view": SearchView(),
        "settings": {
            "search": {"upper_bounds": {"multiply_adds": 400_000.0}, "algorithm": "nsga2"},
            "supernet": {"sampling": "strict_fair"},
        },
        "config_text": CONFIG,
        "stages": [StageState(name, True, 1.0) for name in STAGES],
        "seeds": {"supernet": 0},
        "bounds": ["multiply_adds < 0.40 M"],
        "keeps_bounds": True,
        "wanted": "1,3,0,2",
        "evaluated": [row(choices) for choices in EVALUATED],
        "epochs": files["supernet/result.json"]["history"],
        "hypervolume": files["pareto.json"]["hypervolume"],
        "front": files["pareto.json"],
        **{name: files.get(kind.FILE) for name, kind in KINDS.items()},
        **changes,
    }
    for name, kind in KINDS.items():
        fields[name] = None if fields[name] is None else from_json(kind, fields[name], kind.FILE, SPACE)
    fields["front"] = None if fields["front"] is None else front_from(fields["front"], SPACE)
    return Record(**fields)


def unfinished_record(done: int = 0) -> Record:
    """A run of which the first `done` stages are done, and nothing is recorded."""
    stages = [StageState(name, number < done) for number, name in enumerate(STAGES)]
    unknown = {"keeps_bounds": None, "wanted": None, "evaluated": [], "epochs": [], "hypervolume": []}
    return made_record(**dict.fromkeys([*KINDS, "front"]), **unknown, stages=stages)
