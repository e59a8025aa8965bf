"""The comparison of searches on a run's supernet."""

from __future__ import annotations

from collections.abc import Sequence

from scarlet_tf.comparison.run import compare
from scarlet_tf.evaluation.evaluator import Evaluator
from scarlet_tf.pipeline.run import Run
from scarlet_tf.search.run import evaluator_grouping, evaluator_options


def compare_searches(run: Run, algorithms: Sequence[str], seeds: Sequence[int], evaluations: int | None) -> dict:
    """Compare the searches; return the figures, which are also written to `compare/compare.json`."""
    config = run.config.search
    evaluator = Evaluator(
        run.supernet, run.data.validation, run.plain_train, **evaluator_options(config), **evaluator_grouping(config)
    )
    return compare(run.supernet, config, evaluator, run.folder, algorithms, seeds, evaluations, context=run.context)
