"""Tables of the page: files, checks, folding, finalists, optimisation, dataset and environment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.progress import duration
from scarlet_tf.report.page.blocks import Table
from scarlet_tf.report.page.findings import passed
from scarlet_tf.report.page.record import Record
from scarlet_tf.words import flat, kibibytes, percent

PASSED = {True: "✓ passed", False: "✗ failed", None: "not verified"}


def export_table(certificate: Mapping[str, Any]) -> Table:
    """One row per file: size, accuracy, parity, operations and partitions, and the latency on the measuring host."""
    timed = any(row.get("latency") for row in certificate["files"])
    columns = ["file", "checks", "size", "top-1", "same class", "greatest logit difference", "XNNPACK parts"]
    rows = [
        [row["file"], PASSED[passed(row)], kibibytes(row["bytes"]), *_parity(row), *([_latency(row)] if timed else [])]
        for row in certificate["files"]
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


def checks_table(certificate: Mapping[str, Any]) -> Table | None:
    """Every check of every file; None for certificates that state none."""
    rows = [
        [row["file"], check["name"], PASSED[check["passed"]], check["expected"], check["found"]]
        for row in certificate["files"]
        for check in (row["verification"] or {}).get("checks", ())
    ]
    columns = ["file", "check", "result", "expected", "found"]
    return Table("Every check of every file", columns, rows, words=range(5), is_folded=True) if rows else None


def digests_table(certificate: Mapping[str, Any]) -> Table:
    """SHA-256 of each file that the certificate names."""
    files = (*certificate["files"], *certificate.get("other_files", ()))
    rows = [[row["file"], row["sha256"]] for row in files]
    return Table("SHA-256 of the files", ["file", "SHA-256"], rows, words=(0, 1), is_folded=True)


def folding_table(record: Record) -> Table | None:
    """Outcome of each linear transformation (LET); None if there was none to fold."""
    certificate = record.certificate or {"details": record.retrained}
    rows = [
        [
            row["name"],
            f"{row['rule']}: {row['description']}",
            row["reason"] or "-",
            f"{row['saved_multiply_adds']:,}",
            "-" if row["condition"] is None else f"{row['condition']:.3g}",
        ]
        for row in certificate["details"].get("folding", ())
    ]
    columns = ["LET", "rule", "why it stays", "multiply-adds saved", "condition"]
    return Table("Linear transformations, folded", columns, rows, words=(0, 1, 2)) if rows else None


def finalists_table(measured: Mapping[str, Any]) -> Table:
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


def monitor_table(verdict: Mapping[str, Any]) -> Table:
    """The checks behind the monitor's verdict."""
    holds = {True: "✓ holds", False: "✗ does not hold", None: "undecided"}
    rows = [
        [name.replace("_", " "), holds[check["holds"]], _number(check["value"]), _number(check["threshold"])]
        for name, check in verdict["checks"].items()
    ]
    return Table("The monitor's checks", ["check", "result", "value", "threshold"], rows, words=(0, 1))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def stages_table(record: Record) -> Table:
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


def dataset_table(dataset: Mapping[str, Any]) -> Table:
    """Name, classes, sizes and fingerprint of the data."""
    classes = [str(name) for name in dataset["classes"]]
    shown = ", ".join(classes[:20]) + (f" and {len(classes) - 20} more" if len(classes) > 20 else "")
    rows = [["name", dataset["name"]], ["classes", f"{len(classes)}: {shown}"]]
    rows += [[f"{name} images", f"{count:,}"] for name, count in dataset["examples"].items()]
    return Table("Dataset", ["", "value"], [*rows, ["fingerprint", dataset["fingerprint"]]], words=(0, 1))


def environment_table(record: Record) -> Table | None:
    """Versions, seeds and the host, as far as the run's files state them."""
    certificate = record.certificate
    versions = certificate.get("versions") or record.front.get("versions") or {}
    rows = [*_pairs("", versions), *_pairs("seed: ", record.seeds), *_pairs("host: ", certificate.get("host") or {})]
    return Table("Environment", ["", "value"], rows, words=(0, 1), is_folded=True) if rows else None


def _pairs(prefix: str, values: Mapping[str, Any]) -> Iterator[list[str]]:
    for name, value in values.items():
        yield [f"{prefix}{name}", str(value)]


def figures_table(caption: str, figures: Mapping[str, Any]) -> Table:
    """Single values of nested figures by their dotted names."""
    rows: Sequence[Sequence[str]] = [[name, value] for name, value in flat(figures)]
    return Table(caption, ["", "value"], rows, words=(0, 1))
