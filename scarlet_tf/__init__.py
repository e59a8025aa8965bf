"""scarlet_tf: from a dataset and a budget to the best compact vision network for a phone.

The public names, each of which loads at its first use: NumPy's import takes longer than `scarlet --help`, TensorFlow's seconds.
"""

from __future__ import annotations

import importlib

from scarlet_tf.registration import register_with_keras

register_with_keras()

_LAZY = {
    "Architecture": "scarlet_tf.space",
    "Choice": "scarlet_tf.space",
    "SearchSpace": "scarlet_tf.space",
    "Stage": "scarlet_tf.space",
    "NetworkSpec": "scarlet_tf.spec",
    "Cost": "scarlet_tf.cost",
    "CostTable": "scarlet_tf.cost",
    "count": "scarlet_tf.cost",
    "scale": "scarlet_tf.scaling",
    "InputError": "scarlet_tf.errors",
    "architecture_from_blocks": "scarlet_tf.models.foreign.networks",
    "network_from_blocks": "scarlet_tf.models.foreign.networks",
    "network_from_file": "scarlet_tf.models.foreign.networks",
    "network_from_ofa": "scarlet_tf.models.foreign.ofa",
    "FairNASA": "scarlet_tf.models.zoo",
    "FairNASB": "scarlet_tf.models.zoo",
    "FairNASC": "scarlet_tf.models.zoo",
    "ScarletA": "scarlet_tf.models.zoo",
    "ScarletB": "scarlet_tf.models.zoo",
    "ScarletC": "scarlet_tf.models.zoo",
    "ScarletA2": "scarlet_tf.models.zoo",
    "ScarletA4": "scarlet_tf.models.zoo",
    "MobileNetV2": "scarlet_tf.models.zoo",
    "build_zoo_network": "scarlet_tf.models.zoo",
    "zoo_names": "scarlet_tf.models.zoo_data",
    "preprocess_input": "scarlet_tf.models.zoo",
    "decode_predictions": "scarlet_tf.models.zoo",
    "register_network": "scarlet_tf.run.networks",
    "Network": "scarlet_tf.models.network",
    "build_network": "scarlet_tf.models.network",
    "load_network": "scarlet_tf.models.network",
    "load_torch_weights": "scarlet_tf.models.torch_weights",
    "save_torch_weights": "scarlet_tf.models.torch_weights",
    "Supernet": "scarlet_tf.models.supernet",
    "extract": "scarlet_tf.models.supernet",
    "feature_extractor": "scarlet_tf.models.features",
    "DetectionHead": "scarlet_tf.models.features",
    "SegmentationHead": "scarlet_tf.models.features",
    "FairLanes": "scarlet_tf.models.supernet",
    "FairCrossentropy": "scarlet_tf.models.supernet",
    "FairAccuracy": "scarlet_tf.models.supernet",
    "SupernetConfig": "scarlet_tf.training.config",
    "train_supernet": "scarlet_tf.training.supernet",
    "RetrainConfig": "scarlet_tf.training.config",
    "retrain": "scarlet_tf.training.network",
    "FinetuneConfig": "scarlet_tf.training.config",
    "finetune": "scarlet_tf.training.network",
    "evaluate": "scarlet_tf.evaluation.scoring",
    "RankingConfig": "scarlet_tf.assessment.config",
    "rank": "scarlet_tf.assessment.ranking",
    "HierarchicalMutation": "scarlet_tf.search.mutation",
    "MutationConfig": "scarlet_tf.search.config",
    "UniformMutation": "scarlet_tf.search.mutation",
    "Evaluator": "scarlet_tf.evaluation.evaluator",
    "SearchConfig": "scarlet_tf.search.config",
    "SearchResult": "scarlet_tf.search.run",
    "search": "scarlet_tf.search.run",
    "BetaNASConfig": "scarlet_tf.search.config",
    "train_betanas": "scarlet_tf.betanas.training",
    "derive": "scarlet_tf.betanas.derive",
    "SupernetTuner": "scarlet_tf.search.tuner",
    "ArchitectureOracle": "scarlet_tf.search.oracle",
    "WeightedNSGA2Oracle": "scarlet_tf.search.oracle",
    "compare": "scarlet_tf.assessment.comparison",
    "fold": "scarlet_tf.export.folding",
    "OptimizationConfig": "scarlet_tf.optimization.config",
    "PruningConfig": "scarlet_tf.optimization.config",
    "QuantizationAwareConfig": "scarlet_tf.optimization.config",
    "prune": "scarlet_tf.optimization.prune",
    "quantize_aware": "scarlet_tf.optimization.quantize_aware",
    "export_tflite": "scarlet_tf.export.tflite",
    "export_saved_model": "scarlet_tf.export.saved_model",
    "verify": "scarlet_tf.export.verification",
    "write_report": "scarlet_tf.run.stages",
}

__all__ = list(_LAZY)


def __getattr__(name: str):
    if name == "__version__":
        from importlib import metadata

        value = metadata.version("scarlet_tf")
    elif name in _LAZY:
        value = getattr(importlib.import_module(_LAZY[name]), name)
    else:
        raise AttributeError(f"module 'scarlet_tf' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
