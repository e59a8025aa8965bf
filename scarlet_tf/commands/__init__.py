"""The commands of `scarlet`: each calls the library and prints. TensorFlow is imported inside the calls alone."""

from __future__ import annotations

from scarlet_tf.commands import networks, runs, start

HANDLERS = {
    "benchmark": networks.benchmark,
    "completion": start.completion,
    "cost": networks.cost,
    "doctor": start.doctor,
    "finetune": runs.finetune,
    "init": start.init,
    "latency_build": networks.latency_build,
    "latency_predict": networks.latency_predict,
    "rank": runs.rank,
    "report": runs.report,
    "run": runs.run,
    "search": runs.search,
    "stage": runs.stage,
    "verify": networks.verify,
    "zoo": networks.zoo,
}
