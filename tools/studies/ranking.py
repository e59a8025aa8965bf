"""Ranking quality of each supernet: Kendall's tau against training the networks on their own."""

from __future__ import annotations

from scarlet_tf.assessment.plots import SERIES
from scarlet_tf.assessment.ranking import compare, measure_one_shot, train_alone, write_result
from scarlet_tf.assessment.statistics import stratified_sample
from scarlet_tf.cost import cost_table
from studies import plots
from studies.summary import over_seeds
from studies.workshop import Workshop

_FIGURES = [f"tau_{name}" for name in SERIES]


def run(shop: Workshop) -> dict:
    """The table: a row for each supernet and seed, then means over seeds. Every supernet faces the same networks."""
    study, data, config = shop.study, shop.data, shop.study.sections["ranking"]
    costs = cost_table(study.space, study.data.image_size, data.num_classes)
    samples = stratified_sample(costs, config.architectures, config.strata, config.seed)
    architectures = [sample.architecture for sample in samples]
    alone = train_alone(
        architectures,
        data.train,
        data.validation,
        config.training(study.sections["retrain"]),
        shop.cache,
        shop.input_shape,
        data.num_classes,
        shop.data_context,
    )
    rows = []
    for name, seed, settings, supernet in shop.supernets():
        one_shot = measure_one_shot(
            supernet,
            architectures,
            data.train,
            data.validation,
            shop.cache,
            config.recalibration_batches,
            config.validation_batch_size,
            config.seed,
            shop.context(settings),
        )
        result = {"space": study.space.name, **compare(samples, one_shot, alone, config)}
        write_result(shop.folder / f"{name}-seed{seed}", result, f"{name}, seed {seed}: {len(samples)} networks")
        rows.append({"supernet": name, "seed": seed, **_flat(result["tau"])})
        table = shop.save(
            rows,
            over_seeds(rows, ["supernet"], _FIGURES),
            len(rows) == len(study.seeds) * len(study.supernets),
        )
        plots.taus(shop.folder / "tau.png", rows, SERIES)
    return table


def _flat(tau: dict) -> dict:
    row: dict = {}
    for name, figures in tau.items():
        row |= {f"tau_{name}": figures["tau"], f"low_{name}": figures["low"], f"high_{name}": figures["high"]}
    return row
