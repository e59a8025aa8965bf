"""The finetune stage: trains the network that `finetune` names and writes the same files as retraining."""

from __future__ import annotations

from scarlet_tf.cluster import read_tf_config
from scarlet_tf.cost import count_spec
from scarlet_tf.files import write_result
from scarlet_tf.pipeline.result_keys import SCALING_KEYS
from scarlet_tf.pipeline.run import Run, plain
from scarlet_tf.training.checkpoints import values_digest
from scarlet_tf.training.finetuning import finetune


def finetune_network(run: Run) -> None:
    """Write `<run>/retrain`; result.json comes last and marks the stage as done."""
    config, data, source = run.config.finetune, run.data, run.source
    model, figures = finetune(
        source.network,
        data.train,
        data.validation,
        config,
        run_dir=run.folder,
        num_classes=data.num_classes,
        strategy=run.strategy,
        max_hours=run.max_hours,
    )
    if not read_tf_config().is_chief:
        return
    cost = count_spec(model.spec)
    result = {
        "architecture": source.architecture.to_dict(),
        "init": "finetune",
        "origin": source.origin,
        "folding": source.stated.get("folding", []),
        "multiply_adds": cost.multiply_adds,
        "params": cost.params,
        **{key: source.stated[key] for key in SCALING_KEYS if key in source.stated},
        "test": run.test_figures(model, config.batch_size),
        "weights_sha256": values_digest(model.weights),
        **figures,
    }
    run.certificate.unlink(missing_ok=True)  # it belongs to another file if this stage is done again
    write_result(run.retrain_result, plain(result))
