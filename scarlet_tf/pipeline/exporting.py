"""The export stage: folds the retrained network, writes it in every format, verifies each file, certifies the whole."""

from __future__ import annotations

import logging
import pathlib
from typing import Any

from scarlet_tf.cost import count_spec
from scarlet_tf.export.certificate import write_certificate
from scarlet_tf.export.folding import fold
from scarlet_tf.export.saved_model import export_saved_model
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.verification import verify
from scarlet_tf.files import atomic_writer, read_json
from scarlet_tf.pipeline.picking import folding_limit
from scarlet_tf.pipeline.run import Run, dataset_figures, plain
from scarlet_tf.space import Architecture

logger = logging.getLogger("scarlet_tf")


def export(run: Run) -> None:
    """Writes `<run>/export`; certificate.json comes last and marks the stage as done."""
    retrained = read_json(run.retrain_result)
    folded, rows = fold(run.network, folding_limit(run))
    about = file_metadata(run)
    files = [*_write_tflite(run, folded, about), *_write_optimized(run, about), *_write_saved_model(run, folded, about)]
    write_certificate(
        run.certificate,
        architecture=about["architecture"],
        cost=count_spec(folded.spec),
        files={path: verification(run, path) for path in files},
        seeds=_seeds(run),
        dataset=dataset_figures(run.data),
        details={
            "init": retrained["init"],
            "test": retrained["test"],
            "folding": retrained["folding"] + [plain(row.to_dict()) for row in rows],
            **({"optimization": read_json(run.optimize_result)} if run.config.optimization.is_wanted else {}),
        },
    )


def file_metadata(run: Run) -> dict[str, Any]:
    """What exported files say about the network and its images."""
    retrained = read_json(run.retrain_result)
    return {
        "labels": run.data.class_names,
        "preprocessing": run.data.preprocessing,
        "architecture": Architecture.from_dict(retrained["architecture"], run.config.space),
        "provenance": {"run": run.config.name, "init": retrained["init"], "dataset": run.data.fingerprint},
    }


def _write_tflite(run: Run, model, about: dict) -> list[pathlib.Path]:
    paths = []
    for name in run.config.export.formats:
        path = run.export_folder / f"model_{name}.tflite"
        logger.info("writing %s", path)
        export_tflite(
            model,
            path,
            quantization="none" if name == "float32" else name,
            # Training images: ranges that were fitted to test images would flatter the file's accuracy.
            representative_data=run.data.train if name == "int8" else None,
            num_calibration_images=run.config.export.calibration_examples,
            **about,
        )
        paths.append(path)
    return paths


def _write_optimized(run: Run, about: dict) -> list[pathlib.Path]:
    """What the optimize stage made: the file of quantisation-aware training as it is, the pruned network converted."""
    wanted, paths = run.config.optimization, []
    if wanted.quantization_aware:
        for source in (run.quantized_file, run.quantized_file.with_suffix(".json")):
            with atomic_writer(run.export_folder / source.name) as file:
                file.write(source.read_bytes())
        paths.append(run.export_folder / run.quantized_file.name)
    if wanted.pruning:
        variants = {"model_pruned": "none"} | ({"model_pruned_int8": "int8"} if wanted.pruning.int8 else {})
        for name, quantization in variants.items():
            paths.append(run.export_folder / f"{name}.tflite")
            logger.info("writing %s", paths[-1])
            export_tflite(
                run.pruned_network,
                paths[-1],
                quantization=quantization,
                representative_data=run.data.train if quantization == "int8" else None,
                num_calibration_images=run.config.export.calibration_examples,
                sparse_storage=wanted.pruning.sparse_storage and quantization == "none",
                **about,
            )
    return paths


def _write_saved_model(run: Run, model, about: dict) -> list[pathlib.Path]:
    if not run.config.export.saved_model:
        return []
    path = run.export_folder / "saved_model" / "1"
    logger.info("writing %s", path)
    export_saved_model(model, path, **about)
    return [path]


def verification(run: Run, path: pathlib.Path) -> dict[str, Any]:
    """How far a file's answers are from those of the retrained network, on test images.

    The network is the one before folding, so that the comparison covers folding and conversion together. Files of the
    pruned network are compared with that.
    """
    network = run.pruned_network if path.name.startswith(run.pruned_file.stem) else run.network
    logger.info("verifying %s", path)
    wanted = min(run.config.export.verification_examples, run.data.test.num_examples)
    return plain(verify(path, network, run.data.test.take(wanted)))


def _seeds(run: Run) -> dict[str, int]:
    sections = ("data", "supernet", "search", "retrain")
    return {"run": run.config.seed} | {name: getattr(run.config, name).seed for name in sections}
