"""Predict time and memory of ImageNet runs on 1, 8 and 64 accelerators: supernet, search and race.

    python tools/predict_scale.py
    python tools/predict_scale.py --spaces s1 --accelerators 4 --peak-tflops 312 --share 0.2

Counted: multiply-adds and parameters, by the package. Given: pixels, images, epochs and batches of configs/imagenet_s1.yaml.
Measured on CPUs: what a fair step takes of memory over the least that its activations need (docs/results.md), and how the search
divides among workers, by simulate_workers.py with the real engine. Assumed: `--peak-tflops` of one accelerator, the `--share`
of it that such networks reach, and `--link-gigabytes` a second between two of them. Nothing of it was run on a GPU.

supernet: multiply-adds of the strictly fair step, three times the forward pass, two operations each, over the speed of all
accelerators; then gradients are added up around a ring, behind which nothing is hidden. The batch is divided.
search: one worker for each accelerator, see simulate_workers.py; alone, one process.
race: networks of `--race-multiply-adds`, as many whole trainings as the race's rungs add up to, each on all accelerators.

Memory is that of one accelerator, in 10^9 bytes. `images_per_second`: what the input has to deliver to all of them. Left out:
compilation, checkpoints, monitor, validation, waiting for images. Prints a table, and one JSON object on the last line.
"""

from __future__ import annotations

import os
import types
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from fair_paths import fair_multiply_adds, path_specs, skip_of, space_named
from measuring import parse, report
from scarlet_tf.race.config import RIVALS, RaceConfig, trainings
from scarlet_tf.space.cost import count_spec, stem_cost, tail_cost
from scarlet_tf.training.memory import least_activation_bytes
from simulate_workers import CHIEF_TRIAL_SECONDS, GROUP_SECONDS, WORKER_TRIAL_SECONDS, Problem

# Peak bytes of three fair steps at 64 pixels, batch 32, float32, with oneDNN, by bench_fair_step.py (docs/results.md).
MEASURED = {
    "s1": {"lanes": 2.14e9, "sequential": 0.54e9},
    "s2": {"lanes": 5.37e9, "sequential": 1.07e9},
    "lite0": {"lanes": 0.50e9, "sequential": 0.24e9},
}
MEASURED_PIXELS, MEASURED_BATCH = 64, 32
COPIES = 3  # of each float32 parameter: weight, momentum, gradient
GIGA = 1e9


def main() -> None:
    """Predict every stage of every space on so many accelerators."""
    arguments = parse(
        __doc__,
        spaces={"nargs": "+", "default": ["s1", "s2", "lite0"], "choices": list(MEASURED)},
        accelerators=([1, 8, 64], "how many there are"),
        pixels=224,
        peak_tflops=(60.0, "of one accelerator; an assumption"),
        share=(0.15, "of the peak that is reached; an assumption"),
        link_gigabytes=(25.0, "a second between accelerators; an assumption"),
        training_images=1_231_167,
        validation_images=50_000,
        epochs=60,
        execution={"default": "sequential", "choices": ["sequential", "lanes"], "help": "of the fair step"},
        batch_size=256,
        recalibration_images=25_600,
        population=70,
        generations=120,
        race_multiply_adds=500e6,
        race_epochs=350,
        race_batch_size=4096,
        seed=0,
    )
    print(f"{'space':6s} {'stage':9s} {'accelerators':>12s} {'hours':>9s} {'GB each':>8s} {'images/s':>9s}", flush=True)
    rows = []
    for name in arguments.spaces:
        work = Work(name, arguments)
        for count in arguments.accelerators:
            for stage in ("supernet", "search", "race"):
                found = getattr(work, stage)(count)
                rows.append({"space": name, "stage": stage, "accelerators": count, **found})
                print(
                    f"{name:6s} {stage:9s} {count:12d} {found['hours']:9.1f} {found['gigabytes']:8.1f}"
                    f" {found['images_per_second']:9.0f}",
                    flush=True,
                )
    report("predicted scale", **vars(arguments), rows=rows)


class Work:
    """Stages of a run on one space: their work and its speed."""

    def __init__(self, name: str, arguments):
        self.name, self.arguments, self.space = name, arguments, space_named(name)
        shape, skip = (arguments.pixels, arguments.pixels, 3), skip_of(name)
        # One path for each choice: each layer has every choice once, as in a strictly fair step.
        specs = path_specs(
            self.space, [[c] * self.space.num_layers for c in range(self.space.num_choices)], shape, skip
        )
        self.fair_multiply_adds = fair_multiply_adds(self.space, specs, 1)
        ends, channels = self.space.ends(shape), self.space.layers[-1].out_channels
        shared = stem_cost(ends).params + tail_cost(ends, (1, 1), channels).params
        self.supernet_params = sum(count_spec(spec).params - shared for spec in specs) + shared
        self.network_params = max(count_spec(spec).params for spec in specs)
        self.speed = arguments.share * arguments.peak_tflops * 1e12 / 2  # multiply-adds a second

    def supernet(self, count: int) -> dict:
        """Hours, memory and images a second of the supernet's training."""
        given = self.arguments
        steps = given.epochs * given.training_images / given.batch_size
        step = given.batch_size * self.fair_multiply_adds / self.speed / count + self._added_up(
            self.supernet_params, count
        )
        memory = self._step_bytes(given.execution, given.batch_size / count) + 4 * COPIES * self.supernet_params
        return _row(steps * step, memory, given.batch_size / step)

    def search(self, count: int) -> dict:
        """The same of the search, whose networks are scored once."""
        given = self.arguments
        images = given.validation_images + given.recalibration_images
        settings = types.SimpleNamespace(
            space=self.name,
            pixels=given.pixels,
            population=given.population,
            generations=given.generations,
            images=images,
            group_seconds=GROUP_SECONDS,
            giga_seconds=GIGA / self.speed,
            worker_trial_seconds=WORKER_TRIAL_SECONDS,
            chief_trial_seconds=CHIEF_TRIAL_SECONDS,
            seed=given.seed,
        )
        found = Problem(settings).simulate(count if count > 1 else 0, 0.0)
        # The outputs that scoring keeps are bounded by a setting, search.evaluation_memory_mib.
        return _row(found.seconds, 2**30 + 4 * self.supernet_params, images * len(found.results) / found.seconds)

    def race(self, count: int) -> dict:
        """The same of the race's trainings."""
        given, race = self.arguments, RaceConfig()
        rivals = len(RIVALS) - (self.name != "lite0")  # only a space around a parent has that as a rival
        images = given.race_epochs * given.training_images * trainings(race.finalists + rivals, race.rungs, kinds=2)
        step = given.race_batch_size * 3 * given.race_multiply_adds / self.speed / count
        step += self._added_up(self.network_params, count)
        memory = self._step_bytes("sequential", given.race_batch_size / count) + 4 * COPIES * self.network_params
        return _row(images / given.race_batch_size * step, memory, given.race_batch_size / step)

    def _added_up(self, params: int, count: int) -> float:
        """Seconds in which `count` accelerators in a ring add up gradients: each sends all of them twice, less its own part."""
        return 2 * (count - 1) / count * 4 * params / (self.arguments.link_gigabytes * GIGA)

    def _step_bytes(self, execution: str, batch_size: float) -> float:
        """Memory of a step beside its parameters: as often the least that it needs as was measured on a CPU."""
        measured = MEASURED[self.name][execution] / self._least(execution, MEASURED_PIXELS) / MEASURED_BATCH
        return measured * self._least(execution, self.arguments.pixels) * batch_size

    def _least(self, execution: str, pixels: int) -> int:
        shape = (pixels, pixels, 3)
        supernet: Any = types.SimpleNamespace(
            space=self.space, image_shape=shape, skip=skip_of(self.name), compute_dtype="float32"
        )
        return least_activation_bytes(supernet, 1, execution)


def _row(seconds: float, memory: float, images_per_second: float) -> dict:
    return {"hours": seconds / 3600, "gigabytes": memory / GIGA, "images_per_second": images_per_second}


if __name__ == "__main__":
    main()
