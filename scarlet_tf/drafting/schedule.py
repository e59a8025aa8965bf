"""Hold-outs, batches and epochs for a number of images, on processors or on a GPU.

On processors these rules give the values of configs/digits.yaml and configs/cifar10_small.yaml, which were run; on a GPU
they are a reading between those and the published schedules, which has not been run.
"""

from __future__ import annotations

import dataclasses

from scarlet_tf.data.facts import DatasetFacts
from scarlet_tf.errors import InputError

TEST_SHARE, VALIDATION_SHARE = 0.2, 0.1
LARGEST_SHARE = 0.3
# Images per class: one for training, one for validation, one for testing.
LEAST_IMAGES = 3
FEW_IMAGES = 5000


@dataclasses.dataclass(frozen=True)
class HoldOut:
    """Images left for training; shares that are held out, None if the dataset has such a split."""

    num_train: int
    test_share: float | None
    validation_share: float | None


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Values for the sections supernet, search and retrain."""

    batch_size: int
    supernet_epochs: int
    retrain_epochs: int
    population_size: int
    generations: int
    recalibration_batches: int
    dropout: float

    @property
    def learning_rate(self) -> float:
        """Learning rate of retraining, proportional to the batch size."""
        return round(0.05 * self.batch_size / 64, 5)


def supernet_rate(batch_size: int, num_choices: int) -> float:
    """The learning rate of strictly fair steps, whose gradient is the sum of one for each choice of a layer.

    0.045 is the value of configs/cifar10_small.yaml, with seven choices and batches of 128. More choices sum more gradients,
    so the rate falls in proportion; fewer do not raise it, and batches below 64 lower it in proportion. [reading]
    """
    return float(f"{0.045 * min(1, 7 / num_choices) * min(1, batch_size / 64):.2g}")


def hold_out(facts: DatasetFacts) -> HoldOut:
    """The usual shares, or larger ones for many classes; InputError if there are too few images for any."""
    has_test = "test" in facts.num_examples or "validation" in facts.num_examples
    has_validation = {"test", "validation"} <= facts.num_examples.keys()
    least = LEAST_IMAGES - has_test - has_validation
    few = [name for name, count in zip(facts.class_names, facts.class_counts, strict=True) if count < least]
    if few:
        raise InputError(
            f"{facts.name}: expected at least {least} training images of each class, got fewer of {', '.join(few[:5])}; add"
            " images or remove these classes"
        )
    num_train, test, validation = facts.num_examples["train"], None, None
    if not has_test:
        test = _share(TEST_SHARE, num_train, facts)
        num_train -= round(test * num_train)
    if not has_validation:
        validation = _share(VALIDATION_SHARE, num_train, facts)
        num_train -= round(validation * num_train)
    return HoldOut(num_train, test, validation)


def schedule(num_train: int, has_gpu: bool, is_small: bool) -> Schedule:
    """The schedule; `is_small`: images so small that all stages are short."""
    largest = 64 if num_train < FEW_IMAGES else 256 if has_gpu else 128
    batch = 8
    while 2 * batch <= min(largest, num_train // 8):
        batch *= 2
    steps = max(num_train // batch, 1)
    if has_gpu:
        epochs = _epochs(10_500, steps, 10, 60), _epochs(50_000, steps, 30, 150)
        search = 70, 120, min(20, steps)
    else:
        epochs = _epochs(1_050, steps, 3, 24), _epochs(5_000, steps, 10, 40)
        search = (16, 6, min(8, steps)) if is_small else (24, 10, min(8, steps))
    return Schedule(batch, *epochs, *search, 0.1 if num_train < FEW_IMAGES else 0.0)


def _epochs(wanted_steps: int, steps: int, least: int, most: int) -> int:
    return min(max(round(wanted_steps / steps), least), most)


def _share(usual: float, num_images: int, facts: DatasetFacts) -> float:
    """The usual share, or the one that leaves every class an image on both sides."""
    classes = len(facts.class_names)
    share = max(usual, round(1.1 * classes / num_images + 0.005, 2))
    if share > LARGEST_SHARE:
        raise InputError(
            f"{facts.name}: {num_images} images are too few to hold some of each of {classes} classes out for testing and"
            f" validation; expected at least {round(1.1 * classes / LARGEST_SHARE / 0.7) + 1}"
        )
    return share
