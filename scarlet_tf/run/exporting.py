"""The stages that make files of the network: quantisation-aware training and pruning, and the export with its certificate."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

from scarlet_tf.base.files import atomic_writer, read_json, write_json, write_text
from scarlet_tf.data.inputs import plain
from scarlet_tf.export.certificate import certificate_text, make_certificate
from scarlet_tf.export.folding import MAX_CONDITION_INT8, fold
from scarlet_tf.export.metadata import LABELS_FILE
from scarlet_tf.export.saved_model import export_saved_model
from scarlet_tf.export.tflite import export_tflite
from scarlet_tf.export.verification import Limits, verify
from scarlet_tf.latency.benchmark import benchmark, beside_table
from scarlet_tf.latency.correction import LATENCY
from scarlet_tf.latency.table import table_runner
from scarlet_tf.latency.timing import describe_host
from scarlet_tf.models.network import Network
from scarlet_tf.optimization.config import PruningConfig, QuantizationAwareConfig
from scarlet_tf.optimization.optimize import prune, quantize_aware
from scarlet_tf.results import Certificate, Dataset, NetworkResult, OptimizedResult, to_json
from scarlet_tf.run.folder import Run
from scarlet_tf.run.methods import latency_table, method_of
from scarlet_tf.run.retraining import folding_limit
from scarlet_tf.search.run import SearchResult
from scarlet_tf.space.cost import count_spec
from scarlet_tf.training.checkpoints import values_digest
from scarlet_tf.training.network import save_model

logger = logging.getLogger("scarlet_tf")
# Files that the certificate lists beside the exported files and the network, as patterns.
FINAL = (
    "config.yaml",
    "dataset.json",
    "supernet/result.json",
    "search/sizes/result.json",
    "search/sizes/*/pareto.json",
    "search/sizes/*/search/trials.jsonl",
    "search/trials.jsonl",
    "pareto.json",
    "finalists.json",
    "race/result.json",
    "retrain/result.json",
    "optimize/result.json",
)


def optimize(run: Run, network: NetworkResult) -> OptimizedResult:
    """Train the folded network further, quantisation-aware or with pruning; earlier exports are invalidated."""
    wanted = run.config.optimization
    run.discard(Certificate)
    _begin(run)
    folded, _ = fold(run.network, MAX_CONDITION_INT8)
    options: dict[str, Any] = {"run_dir": run.folder, "seed": wanted.seed}
    figures: dict[str, Any] = {}
    if isinstance(wanted.quantization_aware, QuantizationAwareConfig):
        about = _file_metadata(run, network)
        described = quantize_aware(
            folded, plain(run.network_data.train), run.quantized_file, wanted.quantization_aware, **options, **about
        )
        figures["quantization_aware"] = {key: described[key] for key in ("bytes", "partitions", "history")}
    if isinstance(wanted.pruning, PruningConfig):
        run.pruned_network, figures["pruning"] = prune(folded, plain(run.network_data.train), wanted.pruning, **options)
        save_model(run.pruned_network, run.pruned_file)
        figures["weights_sha256"] = values_digest(run.pruned_network.weights)
    return OptimizedResult(_optimization_settings(run), **figures)


def is_optimized(run: Run, result: OptimizedResult) -> bool:
    """True if the finished stage was done with the run's present settings."""
    return result.settings == _optimization_settings(run)


def _begin(run: Run) -> None:
    """Remove results of other settings, checkpoints included."""
    path = run.optimize_folder / "settings.json"
    if path.exists() and read_json(path) != _optimization_settings(run):
        logger.info("%s: begun with other settings; it is done again", run.optimize_folder)
        shutil.rmtree(run.optimize_folder)
    write_json(path, _optimization_settings(run))


def _optimization_settings(run: Run) -> dict[str, Any]:
    return to_json(dataclasses.asdict(run.config.optimization))


def export(
    run: Run, network: NetworkResult, found: SearchResult | None, optimized: OptimizedResult | None
) -> Certificate:
    """Fold the network, write it in every format, verify each file, and certify the whole.

    found: the search's result, which may have latencies corrected by finalists.
    """
    folded, rows = folded_network(run)
    about = _file_metadata(run, network)
    tflite_files = _write_tflite_files(run, folded, about)
    files = [*tflite_files, *_write_saved_model(run, folded, about)]
    results = {path: verification(run, path) for path in files}
    threads = run.config.export.benchmark_threads
    made = make_certificate(
        run.export_folder,
        architecture=network.architecture,
        cost=count_spec(folded.spec),
        files=results,
        seeds=seeds(run),
        dataset=to_json(run.get(Dataset)),
        others=[
            run.network_file,
            *([run.pruned_file] if run.config.optimization.pruning else []),
            *(path for name in FINAL for path in sorted(run.folder.glob(name))),
            run.export_folder / LABELS_FILE,
            *(path.with_suffix(".json") for path in tflite_files),
        ],
        latencies=_latencies(tflite_files, threads),
        host=describe_host(threads) if threads else None,
        details={
            **network.provenance,
            **({} if network.race is None else {"race": to_json(network.race)}),
            "test": to_json(network.test),
            "folding": [*network.folding, *to_json([row.to_dict() for row in rows])],
            **latency_details(run, network, found),
            **({} if optimized is None else {"optimization": to_json(optimized)}),
        },
    )
    _warn_of_failed_checks(results)
    write_text(run.export_folder / "certificate.md", certificate_text(made))
    return Certificate(**made)


def latency_details(run: Run, network: NetworkResult, found: SearchResult | None) -> dict[str, Any]:
    """{"latency": ...} for the certificate: the exported file of the table's quantization, predicted and measured; or {}.

    `corrected_ms` is present if finalists corrected the table. A network that was scaled after the search, or sees images of
    another size, is only measured: the table does not cover it.
    """
    table = latency_table(run)
    if table is None:
        return {}
    quantization = table.device.get("quantization", "none")
    file = run.export_folder / f"model_{'float32' if quantization == 'none' else quantization}.tflite"
    runner = table_runner(table, run.adb) if file.exists() else None
    if runner is None:
        return {}
    if network.scaling is not None or network.input_size is not None:
        return {"latency": beside_table(file, runner, table, None, None)}
    corrected = None
    if found is not None and "measured" in found.details:
        models = (*found.picks, *found.pareto)
        corrected = next((m.others[LATENCY] for m in models if m.architecture == network.architecture), None)
    return {"latency": beside_table(file, runner, table, network.architecture, corrected)}


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
    images = run.network_data.test.take(min(config.verification_examples, run.network_data.test.num_examples))
    return to_json(verify(path, network, images, Limits(config.max_logit_difference, config.max_top1_drop)))


def _file_metadata(run: Run, network: NetworkResult) -> dict[str, Any]:
    """Metadata of exported files about the network and its images."""
    origin = {key: value for key, value in network.provenance.items() if not key.startswith("searched_")}
    if network.race is not None:
        origin["race"] = {key: network.race[key] for key in ("winner", "kind")}
    return {
        "labels": run.network_data.class_names,
        "preprocessing": run.network_data.preprocessing,
        "architecture": network.architecture,
        "provenance": {"run": run.config.name, **origin, "dataset": run.data.fingerprint},
    }


def _write_tflite_files(run: Run, folded: Network, about: dict[str, Any]) -> list[pathlib.Path]:
    """The folded network in every format, then what the optimize stage made of it."""
    config, wanted = run.config.export, run.config.optimization
    options = {"dynamic_batch": config.dynamic_batch, **about}
    paths = [
        _write_tflite(run, folded, name, "none" if name == "float32" else name, options) for name in config.formats
    ]
    if wanted.quantization_aware:  # this file was written in its training
        for source in (run.quantized_file, run.quantized_file.with_suffix(".json")):
            with atomic_writer(run.export_folder / source.name) as file:
                file.write(source.read_bytes())
        paths.append(run.export_folder / run.quantized_file.name)
    if isinstance(wanted.pruning, PruningConfig):
        options = {"sparse_storage": wanted.pruning.sparse_storage, **about}
        paths.append(_write_tflite(run, run.pruned_network, "pruned", "none", options))
        if wanted.pruning.int8:
            paths.append(_write_tflite(run, run.pruned_network, "pruned_int8", "int8", about))
    return paths


def _write_tflite(run: Run, network: Network, name: str, quantization: str, options: dict[str, Any]) -> pathlib.Path:
    path = run.export_folder / f"model_{name}.tflite"
    logger.info("writing %s", path)
    # Training images: ranges fitted to test images would make the file's accuracy too good.
    images = run.network_data.train if quantization in ("int8", "full_int8") else None
    count = run.config.export.calibration_examples
    export_tflite(network, path, quantization, representative_data=images, num_calibration_images=count, **options)
    return path


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
    sections = ("data", *method_of(run.config).seeded)
    return {"run": run.config.seed} | {name: getattr(run.config, name).seed for name in sections}
