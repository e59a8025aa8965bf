"""Tables of one-shot accuracies: of every network of a small space, or of those that searches have requested."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator

from scarlet_tf.assessment.store import digest
from scarlet_tf.errors import InputError
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.models.supernet import Supernet
from scarlet_tf.progress import progress_bar
from scarlet_tf.search.journal import EvaluationTable
from scarlet_tf.space import SearchSpace
from scarlet_tf.training.config import SupernetConfig
from studies.settings import TableConfig
from studies.workshop import Workshop

# Networks that an evaluator gets at once. In lexicographic order so many share most of their layers, and an
# interrupted table loses no more than these.
CHUNK = 625


def open_table(shop: Workshop, supernet: Supernet, settings: SupernetConfig, config: TableConfig) -> EvaluationTable:
    """The table of a supernet trained with `settings`, in the studies' cache; complete if `config` requires it."""
    data = shop.data
    if config.images > data.validation.num_examples:
        raise InputError(f"table.images: expected at most {data.validation.num_examples}, got {config.images}")
    evaluator = Evaluator(
        supernet,
        data.validation.take(config.images, config.seed),
        recalibration_data=data.train,
        recalibration_batches=config.recalibration_batches,
        batch_size=config.batch_size,
        seed=config.seed,
    )
    context = table_context(shop, settings, config)
    table = EvaluationTable(shop.cache / f"table-{digest(context)}.jsonl", context, evaluator)
    if config.exhaustive:
        fill(table, supernet.space)
    return table


def table_context(shop: Workshop, settings: SupernetConfig, config: TableConfig) -> dict:
    """Plain JSON that names the table: everything that its accuracies depend on."""
    measured = {key: value for key, value in dataclasses.asdict(config).items() if key != "exhaustive"}
    return {"supernet": shop.context(settings), "table": measured}


def fill(table: EvaluationTable, space: SearchSpace, chunk: int = CHUNK) -> None:
    """Evaluate every architecture of the space that is not in the table yet."""
    every = itertools.product(range(space.num_choices), repeat=space.num_layers)
    with progress_bar("table", space.size, len(table)) as bar:
        for part in _batched(every, chunk):
            missing = [choices for choices in part if choices not in table]
            table.begin_generation(missing)
            for choices in missing:
                table.evaluate(choices)
                bar.advance()


def _batched(values: Iterable, size: int) -> Iterator[tuple]:
    """Tuples of `size` values, the last one perhaps shorter."""
    values = iter(values)
    while part := tuple(itertools.islice(values, size)):
        yield part
