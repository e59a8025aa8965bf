"""train_betanas: a supernet's weights and the importances of its choices, in turn, resumable at any step."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Mapping
from typing import cast

import numpy as np
import tensorflow as tf

from scarlet_tf.base import host
from scarlet_tf.base.errors import InputError
from scarlet_tf.base.settings import as_settings
from scarlet_tf.betanas.importances import Importances, JointCost, Phases
from scarlet_tf.data.inputs import as_split, training_batches
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.search.config import BetaNASConfig, SearchConfig, side_of
from scarlet_tf.search.objectives import CostModel, Objectives, cost_model_and_objectives
from scarlet_tf.search.program import PathProgram
from scarlet_tf.space.cost import cost_table
from scarlet_tf.training.compiled_layers import CompiledLayers, Rule
from scarlet_tf.training.config import SupernetConfig
from scarlet_tf.training.fair_step import SupernetStep
from scarlet_tf.training.optimizers import Loss
from scarlet_tf.training.sampling import drawn_path
from scarlet_tf.training.supernet import carry_out, new_run, with_watchers

logger = logging.getLogger("scarlet_tf")


def train_betanas(
    supernet: Supernet,
    train_data,
    validation_data,
    config: SupernetConfig | Mapping | None = None,
    search: SearchConfig | Mapping | None = None,
    strategy: tf.distribute.Strategy | None = None,
    run_dir=None,
    callbacks=(),
    max_hours: float | None = None,
    input_size: int | None = None,
    num_classes: int | None = None,
) -> dict:
    """Trains weights and importances of `supernet` by BetaNAS; returns what `train_supernet` does, and "importances".

    A step is of one path: of the weights on training images, with the choices drawn as `search.betanas.sampling` says, or of
    the importances on held-out images, with a path drawn by their probabilities. A choice that is not drawn gets no
    update, no decay and no momentum; one that was dropped is never run again. Each epoch's row of the history has the
    importances at its end ("alpha"), how often each choice was trained ("trained"), and what was dropped.

    Args:
        supernet: not trained; made in the scope of `strategy`.
        train_data, validation_data: as for `train_supernet`; the latter are the held-out images of the importances.
        config: of the weights. An epoch is as many steps, of either kind, as the training images have batches; the learning
            rate's schedule runs over the weight steps. `sampling` and `execution` do not count here: a step is of one path.
        search: its section betanas, its bounds and its table.
        strategy, run_dir, callbacks, max_hours: as for `train_supernet`.
        input_size, num_classes: what costs are counted at; the supernet's own by default.

    "importances" has alpha and trained [num_layers, num_choices], and dropped_at: the step after which a choice was
    dropped, -1 if it was not. Raises InputError as `train_supernet` does, and for bounds that no network keeps.
    """
    host.check()
    config, search = as_settings(SupernetConfig, config), as_settings(SearchConfig, search)
    costs = cost_table(supernet.space, input_size or side_of(supernet), num_classes or supernet.num_classes)
    cost_model, objectives = cost_model_and_objectives(costs, **search.objective_settings(costs))
    check_betanas(cost_model, search.betanas, config)
    config = _of_single_paths(config)
    train, held_out = as_split(train_data, supernet.num_classes), as_split(validation_data, supernet.num_classes)
    strategy = strategy or tf.distribute.get_strategy()
    phases = Phases(config.epochs * train.steps_per_epoch(config.batch_size), search.betanas)
    batches = PhasedBatches(train, held_out, phases, config.batch_size, config.seed)
    moves = phases.weight_steps(phases.total_steps)
    run = new_run(supernet, train, config, strategy, run_dir, callbacks, max_hours, moves)
    trainer = _Trainer(supernet, cast(SupernetStep, run.step), config, phases, cost_model, objectives)
    run = dataclasses.replace(
        run,
        step=trainer.step,
        batches=batches,
        extra=trainer.extra,
        after_step=trainer.after_step,
        state=trainer.importances,
        details=trainer.details,
        settings={**run.settings, **_settings(search.betanas, cost_model, objectives)},
    )
    found = carry_out(with_watchers(run, config, max_hours, phase_of=phases.name), config)
    return {**found, "importances": summary(trainer.importances)}


def summary(importances: Importances) -> dict:
    """The importances in plain JSON."""
    names = ("alpha", "dropped_at", "trained")
    return {name: getattr(importances, name).tolist() for name in names}


def _settings(betanas: BetaNASConfig, cost_model: CostModel, objectives: Objectives) -> dict:
    """Settings that a checkpoint must match besides the weights' own."""
    return {
        "betanas": dataclasses.asdict(betanas),
        "objectives": objectives.get_config(),
        "table": cost_model.fingerprint,
    }


def _of_single_paths(config: SupernetConfig) -> SupernetConfig:
    """The configuration with what a step of one path leaves no choice about."""
    if config.execution == "lanes" or config.jit_compile:
        logger.warning(
            "supernet.execution: sequential, and nothing compiled by XLA, since a step of betanas is of one path"
        )
    return dataclasses.replace(config, sampling="uniform", execution="sequential", jit_compile=False)


def check_betanas(cost_model: CostModel, betanas: BetaNASConfig, supernet: SupernetConfig) -> None:
    """InputError for what betanas cannot do.

    That is a cost that nothing gives, no epochs, a monitor, whose paths would go through dropped choices, and distillation.
    """
    JointCost(cost_model, betanas)
    if supernet.epochs == 0:
        raise InputError("supernet.epochs: expected at least 1 with betanas, which trains importances, got 0")
    if supernet.monitor_paths:
        raise InputError(
            f"supernet.monitor_paths: expected 0 with betanas, which drops choices, got {supernet.monitor_paths}"
        )
    if supernet.distillation:
        raise InputError(
            f"supernet.distillation: expected 0 with betanas, whose steps have one path, got {supernet.distillation}"
        )


class _Trainer:
    """Interface for the training loop: steps of both phases, and the importances between them."""

    def __init__(
        self,
        supernet: Supernet,
        weight_step: SupernetStep,
        config: SupernetConfig,
        phases: Phases,
        cost_model: CostModel,
        objectives: Objectives,
    ):
        space = supernet.space
        self.space, self.seed, self.phases, self.config = space, config.seed, phases, phases.config
        self.objectives = objectives
        self.importances = Importances(space.num_layers, space.num_choices, phases.config)
        self._cost = JointCost(cost_model, phases.config)
        self._within_bounds = PathProgram(cost_model)
        self._weight_step = weight_step
        loss = Loss(supernet.num_classes, config.batch_size, config.label_smoothing)
        self._gates = Gates(supernet, loss, weight_step.scale, training=not config.freeze_bn)

    def extra(self, step: int) -> dict:
        """The step's path, drawn from (seed, step) and the importances, and what is known only here."""
        found = self.importances
        importance = self.phases.is_importance(step)
        by_importance = importance or self.config.sampling == "importances"
        weights = found.probabilities if by_importance else found.remaining.astype(float)
        return {"importance": importance, "path": drawn_path(weights, self.seed, step), "choices": found.remaining}

    def step(self, images, labels, extra: dict) -> dict:
        """One replica's share of a step of either phase."""
        if not extra["importance"]:
            return self._weight_step(images, labels, extra["path"][None])
        loss, accuracy, gates = self._gates(images, labels, extra["path"], extra["choices"])
        return {"held_out_loss": loss, "held_out_accuracy": accuracy, "gates": gates}

    def after_step(self, step: int, found: Mapping) -> dict:
        """Moves the importances, or counts what was trained; drops choices where it is time."""
        figures = {name: float(value) for name, value in found.items() if name != "gates"}
        if "gates" in found:
            probabilities = self.importances.probabilities
            figures["mean_cost"] = self._cost.mean(probabilities)
            self.importances.update(np.asarray(found["gates"]), self._cost.gradient(probabilities))
        else:
            path = self.extra(step)["path"]
            self.importances.trained[np.arange(len(path)), path] += 1
        if self.config.drop and self.phases.is_check(step):
            self._drop(step)
        return figures

    def _drop(self, step: int) -> None:
        dropped = self.importances.drop(step, self._leaves_a_network)
        remaining = int(self.importances.remaining.sum())
        if dropped:
            labels = ", ".join(f"{self.space.choices[choice].label} of layer {layer}" for layer, choice in dropped)
            logger.info(
                "supernet: dropped %s; %d of %d choices remain", labels, remaining, self.importances.remaining.size
            )

    def _leaves_a_network(self, remaining: np.ndarray) -> bool:
        return self._within_bounds.find(self.importances.alpha, remaining, self.objectives) is not None

    def details(self, epoch: int) -> dict:
        del epoch
        return summary(self.importances)


class PhasedBatches:
    """`batches(epoch, skip_batches, shard)` for the training loop: each step's batch comes from its phase's split.

    Each split is passed over again and again, shuffled again; where a pass stands depends on the number of the step alone.
    Raises InputError for splits with fewer images than a batch, or with labels of different kinds.
    """

    def __init__(self, train, held_out, phases: Phases, batch_size: int, seed: int):
        for key, split in (("training", train), ("held-out", held_out)):
            if split.num_examples < batch_size:
                raise InputError(
                    f"supernet.batch_size: expected at most the {split.num_examples} {key} images, got {batch_size}"
                )
        self.splits, self.phases, self.batch_size, self.seed = (train, held_out), phases, batch_size, seed
        self.steps_per_epoch = train.steps_per_epoch(batch_size)

    def __call__(self, epoch: int, skip_batches: int, shard: tuple[int, int]) -> tf.data.Dataset:
        start, end = epoch * self.steps_per_epoch + skip_batches, (epoch + 1) * self.steps_per_epoch
        kinds = np.array([self.phases.is_importance(step) for step in range(start, end)], np.int64)
        counts = (self.phases.weight_steps, self.phases.importance_steps)
        streams = [
            self._stream(split, count(start), count(end), shard)
            for split, count in zip(self.splits, counts, strict=True)
        ]
        weights, importances = streams
        if weights is None or importances is None:
            return importances if weights is None else weights
        if weights.element_spec[1].shape.rank != importances.element_spec[1].shape.rank:
            raise InputError(
                f"data: expected labels of one kind, got {weights.element_spec[1]} in training images and"
                f" {importances.element_spec[1]} in held-out ones"
            )
        return tf.data.Dataset.choose_from_datasets(streams, tf.data.Dataset.from_tensor_slices(kinds))

    def _stream(self, split, first: int, last: int, shard: tuple[int, int]) -> tf.data.Dataset | None:
        """The batches first to last - 1 of the split's endless passes; None where these are none."""
        found, size = None, split.steps_per_epoch(self.batch_size)
        while first < last:
            number, skipped = divmod(first, size)
            count = min(size - skipped, last - first)
            part = training_batches(split, self.batch_size, self.seed, number, skipped, shard).take(count)
            found = part if found is None else found.concatenate(part)
            first += count
        return found


# -- Gates: derivatives of a path's loss by a weight on each choice's output (ProxylessNAS, arXiv:1812.00332) ------


class Gates:
    """Derivatives of a path's loss by a weight on each choice's output: ProxylessNAS' gates.

    The output of a layer is seen as sum_j g_j y_j over the choices j, with g = 1 for the path's choice and 0 for the others;
    y_j is choice j's output for the path's own features. dO/dg_j is then the sum of dO/dy * y_j over the layer's output.
    Nothing is trained: neither weights nor BN's statistics move. BN normalises by the batch, as in training.
    """

    def __init__(self, supernet: Supernet, loss: Loss, scale: float = 1.0, training: bool = True):
        self.supernet, self.scale = supernet, scale
        self._layers = CompiledLayers(supernet, loss, Rule(scale=scale, frozen=True), training=training)

    def __call__(self, images, labels, path, choices):
        """(loss, accuracy, dO/dg float32 [num_layers, num_choices]) of one path, int [num_layers].

        `choices`: bool [num_layers, num_choices], which of them are evaluated, the path's among them; the others are not
        run, and have 0.
        """
        images, labels = tf.convert_to_tensor(images), tf.convert_to_tensor(labels)
        choices = np.asarray(choices, bool)
        layers, passed = self._layers, []
        stem = layers.layer(self.supernet.stem, images)
        x, *_ = stem.forward([images, *stem.handles])
        for block, choice, wanted in zip(self.supernet.choice_blocks, path, choices, strict=True):
            if not wanted[choice]:
                raise ValueError(f"{block.name}: the path's choice {choice} is not among those evaluated")
            outputs = {}
            for other in np.flatnonzero(wanted):
                layer = layers.layer(block.candidates[other], x)
                outputs[other], *residuals = layer.forward([x, *layer.handles])
                if other == choice:
                    kept = (x, layer, residuals)
            passed.append((*kept, outputs))
            x = outputs[choice]
        tail = layers.tail(x, labels)
        loss, accuracy, dy = tail.forward([x, labels, *tail.handles])
        gates = []
        del residuals, kept, outputs
        while passed:
            x, layer, residuals, outputs = passed.pop()
            products = _inner_products(dy, outputs.values()) / self.scale
            gates.append(tf.scatter_nd(np.array(list(outputs))[:, None], products, [choices.shape[1]]))
            if passed:  # nothing reads the gradient of the stem's output
                (dy,) = layer.backward([x, *layer.handles, *residuals, dy])
        return loss, accuracy, tf.stack(gates[::-1])


def _inner_products(dy, outputs: Iterable):
    dy = tf.cast(dy, tf.float32)
    return tf.stack([tf.reduce_sum(dy * tf.cast(y, tf.float32)) for y in outputs])
