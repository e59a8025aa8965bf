"""The export stage: folds the retrained network, writes it in every format, verifies each file, certifies the whole."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from scarlet_tf.cost import count_spec
from scarlet_tf.export.certificate import make_certificate
from scarlet_tf.export.checks import Limits
from scarlet_tf.export.folding import fold
from scarlet_tf.export.metadata import LABELS_FILE
from scarlet_tf.export.saved_model import export_saved_model
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.verification import verify
from scarlet_tf.files import atomic_writer, read_json, write_result, write_text
from scarlet_tf.latency.benchmark import benchmark
from scarlet_tf.latency.timing import describe_host
from scarlet_tf.optimization.config import PruningConfig
from scarlet_tf.pipeline.latency import latency_details
from scarlet_tf.pipeline.picking import folding_limit
from scarlet_tf.pipeline.result_keys import SCALING_KEYS
from scarlet_tf.pipeline.results import final_files
from scarlet_tf.pipeline.run import Run, dataset_figures, plain
from scarlet_tf.report.certificate import certificate_text
from scarlet_tf.space import Architecture

logger = logging.getLogger("scarlet_tf")


def export(run: Run) -> None:
    """Write `<run>/export`; certificate.json comes last and marks the stage as done."""
    retrained = read_json(run.retrain_result)
    folded, rows = folded_network(run)
    about = file_metadata(run)
    tflite_files = [*_write_tflite(run, folded, about), *_write_optimized(run, about)]
    files = [*tflite_files, *_write_saved_model(run, folded, about)]
    results = {path: verification(run, path) for path in files}
    threads = run.config.export.benchmark_threads
    certificate = make_certificate(
        run.export_folder,
        architecture=about["architecture"],
        cost=count_spec(folded.spec),
        files=results,
        seeds=seeds(run),
        dataset=dataset_figures(run.data),
        others=[
            run.network_file,
            *([run.pruned_file] if run.config.optimization.pruning else []),
            *final_files(run.folder),
            run.export_folder / LABELS_FILE,
            *(path.with_suffix(".json") for path in tflite_files),
        ],
        latencies=_latencies(tflite_files, threads),
        host=describe_host(threads) if threads else None,
        details={
            **{key: retrained[key] for key in ("init", "origin", *SCALING_KEYS) if key in retrained},
            "test": retrained["test"],
            "folding": retrained["folding"] + [plain(row.to_dict()) for row in rows],
            **latency_details(run, None if "scaling" in retrained else about["architecture"]),
            **({"optimization": read_json(run.optimize_result)} if run.config.optimization.is_wanted else {}),
        },
    )
    _warn_of_failed_checks(results)
    write_text(run.export_folder / "certificate.md", certificate_text(certificate))
    write_result(run.certificate, certificate)


def folded_network(run: Run):
    """(the retrained network without its LETs, one row a LET), as `fold` gives them."""
    return fold(run.network, folding_limit(run))


def verification(run: Run, path: pathlib.Path) -> dict[str, Any]:
    """Differences between a file's outputs and those of the retrained network, on test images.

    The network is the one before folding, so that the comparison covers folding and conversion together. Files of the
    pruned network are compared with that.
    """
    network = run.pruned_network if path.name.startswith(run.pruned_file.stem) else run.network
    logger.info("verifying %s", path)
    config = run.config.export
    images = run.data.test.take(min(config.verification_examples, run.data.test.num_examples))
    return plain(verify(path, network, images, Limits(config.max_logit_difference, config.max_top1_drop)))


def file_metadata(run: Run) -> dict[str, Any]:
    """Metadata of exported files about the network and its images."""
    retrained = read_json(run.retrain_result)
    return {
        "labels": run.data.class_names,
        "preprocessing": run.data.preprocessing,
        "architecture": Architecture.from_dict(retrained["architecture"], run.config.space),
        "provenance": {
            "run": run.config.name,
            **{key: retrained[key] for key in ("init", "origin", "scaling") if key in retrained},
            "dataset": run.data.fingerprint,
        },
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
            # Training images: ranges fitted to test images would make the file's accuracy too good.
            representative_data=run.data.train if name in ("int8", "full_int8") else None,
            num_calibration_images=run.config.export.calibration_examples,
            dynamic_batch=run.config.export.dynamic_batch,
            **about,
        )
        paths.append(path)
    return paths


def _write_optimized(run: Run, about: dict) -> list[pathlib.Path]:
    """Export the optimize stage's results: copy the file of quantisation-aware training, convert the pruned network."""
    wanted, paths = run.config.optimization, []
    if wanted.quantization_aware:
        for source in (run.quantized_file, run.quantized_file.with_suffix(".json")):
            with atomic_writer(run.export_folder / source.name) as file:
                file.write(source.read_bytes())
        paths.append(run.export_folder / run.quantized_file.name)
    if isinstance(wanted.pruning, PruningConfig):
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
    export_saved_model(model, path, warm_up=run.config.export.warm_up, **about)
    return [path]


def _latencies(files: Sequence[pathlib.Path], threads: int) -> dict[str, Mapping]:
    if not threads:
        return {}
    return {row["file"]: row for row in benchmark(files, threads)}


def _warn_of_failed_checks(results: Mapping[pathlib.Path, Mapping]) -> None:
    for path, result in results.items():
        for check in result["checks"]:
            if not check["passed"]:
                logger.warning(
                    "%s: %s: expected %s, found %s", path, *(check[k] for k in ("name", "expected", "found"))
                )


def seeds(run: Run) -> dict[str, int]:
    """The run's seed and that of each of its stages."""
    trained = ("finetune",) if run.config.finetune.is_wanted else ("supernet", "search", "retrain")
    sections = ("data", *trained)
    return {"run": run.config.seed} | {name: getattr(run.config, name).seed for name in sections}
