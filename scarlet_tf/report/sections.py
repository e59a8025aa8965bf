"""The sections of the page, in its order. A part that a run lacks is replaced by a sentence with the command that adds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.base.words import duration, flat, kibibytes, millions, percent, plural
from scarlet_tf.report.blocks import Drawing, Gallery, Listing, Note, Section, Table
from scarlet_tf.report.drawing import draw
from scarlet_tf.report.findings import passed
from scarlet_tf.report.front import FoundNetwork, found_networks, front_plot, front_table, shown_first
from scarlet_tf.report.record import Record
from scarlet_tf.report.search_plots import race_blocks, ranking_plot, retraining_plot
from scarlet_tf.report.supernet_plots import fairness, histogram_plot, training_plot
from scarlet_tf.results import Certificate, Dataset, InputSizes, NetworkResult, Verdict
from scarlet_tf.search.objectives import score_of


def sections(record: Record) -> list[Section]:
    """All sections for the run's kind."""
    networks = found_networks(record)
    parts: dict[str, tuple[str, Callable[[], Iterator[Any]]]] = {
        "front": ("The front", lambda: _front(record, networks)),
        "race": ("The race", lambda: race_blocks(record)),
        "network": ("The network", lambda: _network(record)),
        "files": ("The files", lambda: _files(record)),
        "supernet": ("The supernet", lambda: _supernet(record)),
        "ranking": ("The ranking", lambda: _ranking(record)),
        "search": ("The search", lambda: _search(record)),
        "settings": ("Configuration and environment", lambda: _settings(record)),
    }
    is_raced = any(stage.name == "race" for stage in record.stages)
    wanted = [(name, *parts[name]) for name in record.view.sections if name != "race" or is_raced]
    return [Section(name, title, [block for block in blocks() if block is not None]) for name, title, blocks in wanted]


def _front(record: Record, networks: Sequence[FoundNetwork]) -> Iterator[Any]:
    if not networks:
        yield _missing("The search has not written its front yet")
        return
    if record.front is not None and record.front.stopped:
        yield Note("The search was stopped before its last generation; this continues it:", record.command("search"))
    if len(networks) > 1 or record.evaluated:
        yield front_plot(record, networks)
    yield Gallery(networks, front_table(networks), shown_first(networks, record.wanted))


def _network(record: Record) -> Iterator[Any]:
    network = record.network
    if network is None:
        yield _missing(f"No network was {record.view.training} yet")
        return
    encoding = f"{network.architecture.space.name}:{network.architecture.to_string()}"
    drawing = draw(
        network.architecture, network.input_size or record.image_size, "retrained-drawing", f"The network: {encoding}"
    )
    yield Drawing("How it is built", drawing, "; ".join(_described(network, encoding, record.known_by)) + ".")
    yield retraining_plot(record)
    without = "It was trained from scratch, without" if network.init == "scratch" else "It has no"
    yield _folding_table(record, network) or Note(
        f"{without} linear transformations (LETs), so there was nothing to fold."
    )
    if record.optimized is not None:
        yield _figures_table("Quantisation-aware training and pruning", record.optimized.figures)


def _described(network: NetworkResult, encoding: str, known_by: str) -> Iterator[str]:
    yield encoding
    yield f"{millions(network.multiply_adds)} multiply-adds and {millions(network.params)} parameters"
    if network.input_size is not None:
        yield f"for images of {network.input_size} pixels"
    if network.one_shot_accuracy is not None:
        yield f"{known_by} accuracy {percent(network.one_shot_accuracy)}"
    if network.origin is not None:
        yield f"fine-tuned from {network.origin['network']}"
    else:
        yield f"trained from {'scratch' if network.init == 'scratch' else 'the supernet'}"
    if network.as_searched:
        yield f"drawn as it was searched: {network.as_searched}"


def _files(record: Record) -> Iterator[Any]:
    certificate = record.certificate
    if certificate is None:
        yield _missing("Nothing is exported yet")
        return
    images = {row["verification"]["num_images"] for row in certificate.files if row["verification"]}
    about = " and ".join(plural(count, "test image") for count in sorted(images))
    yield Note(
        f"Each file was compared with the trained network on {about}. The certificate states more than this page; it is computed"
        " again by:",
        f"scarlet verify {record.folder}",
    )
    yield from (_export_table(certificate), _checks_table(certificate), _digests_table(certificate))
    if "latency" in certificate.details:
        yield _figures_table("Latency, predicted and measured", certificate.details["latency"])


def _supernet(record: Record) -> Iterator[Any]:
    if record.known_by == "predicted":
        yield Note("No supernet was trained: accuracies are predicted from networks' own trainings, see the ranking.")
        yield histogram_plot(record)
        return
    if record.supernet is None:
        yield _missing("The supernet's training is not finished")
    yield from (training_plot(record), histogram_plot(record))
    if record.monitor is not None:
        verdict = record.monitor.verdict
        yield Note(f"The monitor's verdict: {verdict.text}.")
        if verdict.checks:
            yield _monitor_table(verdict)
    else:
        yield record.view.supernet_note(record)
    yield from fairness(record)


def _ranking(record: Record) -> Iterator[Any]:
    yield ranking_plot(record) or Note(
        "Whether the supernet orders networks as their own trainings would is not measured. This trains some of them:",
        record.command("rank"),
    )


def _search(record: Record) -> Iterator[Any]:
    *plots, compared = record.view.search(record)
    if record.sizes is not None:
        yield from _sizes_blocks(record.sizes)
    yield from plots
    if record.front is None and not any(plots):
        yield _missing("The search has no generation yet")
    if record.front is not None and "measured" in record.front.details:
        yield _finalists_table(record.front.details["measured"])
    yield compared


def _settings(record: Record) -> Iterator[Any]:
    yield _stages_table(record)
    if record.dataset is not None:
        yield _dataset_table(record.dataset)
    yield _environment_table(record)
    yield Listing("config.yaml, every default written out", record.config_text)


def _missing(what: str) -> Note:
    return Note(f"{what}; scarlet run continues with that, see the command above.")


PASSED = {True: "✓ passed", False: "✗ failed", None: "not verified"}


def _export_table(certificate: Certificate) -> Table:
    """One row per file: size, accuracy, parity, operations and partitions, and the latency on the measuring host."""
    timed = any(row.get("latency") for row in certificate.files)
    columns = ["file", "checks", "size", "top-1", "same class", "greatest logit difference", "XNNPACK parts"]
    rows = [
        [row["file"], PASSED[passed(row)], kibibytes(row["bytes"]), *_parity(row), *([_latency(row)] if timed else [])]
        for row in certificate.files
    ]
    return Table("Exported files", [*columns, *(["ms on this host"] if timed else [])], rows, words=(0, 1))


def _parity(row: Mapping[str, Any]) -> list[str]:
    found = row["verification"] or {}
    difference, parts = found.get("max_logit_difference"), found.get("partitions")
    return [
        percent(found.get("top1")),
        percent(found.get("agreement")),
        "-" if difference is None else f"{difference:.2g}",
        "-" if parts is None else str(parts),
    ]


def _latency(row: Mapping[str, Any]) -> str:
    latency = row.get("latency")
    return f"{latency['milliseconds']:.3g} ± {latency['deviation']:.1g}" if latency else "-"


def _checks_table(certificate: Certificate) -> Table | None:
    """Every check of every file; None if none was verified."""
    rows = [
        [row["file"], check["name"], PASSED[check["passed"]], check["expected"], check["found"]]
        for row in certificate.files
        for check in (row["verification"] or {}).get("checks", ())
    ]
    columns = ["file", "check", "result", "expected", "found"]
    return Table("Every check of every file", columns, rows, words=range(5), is_folded=True) if rows else None


def _digests_table(certificate: Certificate) -> Table:
    """SHA-256 of each file that the certificate names."""
    files = (*certificate.files, *certificate.other_files)
    rows = [[row["file"], row["sha256"]] for row in files]
    return Table("SHA-256 of the files", ["file", "SHA-256"], rows, words=(0, 1), is_folded=True)


def _folding_table(record: Record, network: NetworkResult) -> Table | None:
    """Outcome of each linear transformation (LET); None if there was none to fold."""
    folded = network.folding if record.certificate is None else record.certificate.details.get("folding", ())
    rows = [
        [
            row["name"],
            f"{row['rule']}: {row['description']}",
            row["reason"] or "-",
            f"{row['saved_multiply_adds']:,}",
            "-" if row["condition"] is None else f"{row['condition']:.3g}",
        ]
        for row in folded
    ]
    columns = ["LET", "rule", "why it stays", "multiply-adds saved", "condition"]
    return Table("Linear transformations, folded", columns, rows, words=(0, 1, 2)) if rows else None


def _sizes_blocks(sizes: InputSizes) -> Iterator[Any]:
    """The size that was chosen, and what the short search at each one found."""
    rows = [
        [
            f"{row['input_size']} pixels",
            "to the end" if row["input_size"] == sizes.chosen else "briefly",
            str(row["evaluations"]),
            f"{score_of(row):.3f}",
            percent(row["accuracy"]),
            millions(row["multiply_adds"]),
            row["architecture"],
        ]
        for row in sizes.measured
    ]
    yield Note(
        f"{plural(len(rows), 'size')} of the images, within the same bounds, had a short search each. The best network"
        f" was found at {sizes.chosen} pixels, where the search went on."
    )
    columns = [
        "images",
        "searched",
        "networks evaluated at first",
        "best score",
        "its accuracy",
        "multiply-adds",
        "choices",
    ]
    yield Table("Input sizes", columns, rows, words=(0, 1, 6))


def _finalists_table(measured: Mapping[str, Any]) -> Table:
    """Latencies of networks that were measured whole, beside the predictions of the table of parts."""
    rows = [
        [
            row["architecture"],
            f"{row['predicted_ms']:.3g}",
            f"{row['corrected_ms']:.3g}",
            f"{row['measured_ms']:.3g}",
            f"{row['error']:+.1%}",
            f"{row['corrected_error']:+.1%}",
        ]
        for row in measured["networks"]
    ]
    columns = ["choices", "predicted, ms", "corrected, ms", "measured, ms", "error", "error after correction"]
    return Table("Networks measured whole", columns, rows)


def _monitor_table(verdict: Verdict) -> Table:
    """The checks that the monitor's verdict rests on."""
    holds = {True: "✓ holds", False: "✗ does not hold", None: "undecided"}
    rows = [
        [name.replace("_", " "), holds[check["holds"]], _number(check["value"]), _number(check["threshold"])]
        for name, check in verdict.checks.items()
    ]
    return Table("The monitor's checks", ["check", "result", "value", "threshold"], rows, words=(0, 1))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _stages_table(record: Record) -> Table:
    """The stages of the run and the seconds that each took."""
    rows = [
        [
            stage.name,
            "✓ done" if stage.is_done else "not yet",
            "-" if stage.seconds is None else duration(stage.seconds),
        ]
        for stage in record.stages
    ]
    return Table("Stages", ["stage", "state", "time"], rows, words=(0, 1))


def _dataset_table(dataset: Dataset) -> Table:
    """Name, classes, sizes and fingerprint of the data."""
    classes = dataset.classes
    shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    rows = [["name", dataset.name], ["classes", f"{len(classes)}: {shown}"]]
    rows += [[f"{name} images", f"{count:,}"] for name, count in dataset.examples.items()]
    return Table("Dataset", ["", "value"], [*rows, ["fingerprint", dataset.fingerprint]], words=(0, 1))


def _environment_table(record: Record) -> Table | None:
    """Versions, seeds and the host, as far as the run's files state them."""
    certificate, front = record.certificate, record.front
    versions = certificate.versions if certificate else front.details.get("versions", {}) if front else {}
    host = certificate.host if certificate else None
    rows = [*_pairs("", versions), *_pairs("seed: ", record.seeds), *_pairs("host: ", host or {})]
    return Table("Environment", ["", "value"], rows, words=(0, 1), is_folded=True) if rows else None


def _pairs(prefix: str, values: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, value in values.items():
        yield [f"{prefix}{name}", str(value)]


def _figures_table(caption: str, figures: Mapping[str, Any]) -> Table:
    """Single values of nested figures by their dotted names."""
    rows: Sequence[Sequence[str]] = [[name, value] for name, value in flat(figures)]
    return Table(caption, ["", "value"], rows, words=(0, 1))
