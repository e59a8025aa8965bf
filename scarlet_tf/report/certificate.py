"""The certificate for people, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from scarlet_tf.results import Score, from_json
from scarlet_tf.scaling import Scaling
from scarlet_tf.words import before_scaling, flat, millions, percent


def certificate_text(certificate: Mapping[str, Any]) -> str:
    """certificate.md: everything in certificate.json except operations and single layers."""
    return "\n".join(_lines(certificate)) + "\n"


def _lines(certificate: Mapping[str, Any]) -> Iterator[str]:
    architecture, dataset = certificate["architecture"], certificate["dataset"]
    yield f"# {architecture['space']}:{architecture['string']}"
    yield ""
    yield (
        f"{millions(certificate['multiply_adds'])} multiply-adds, {millions(certificate['params'])} params. All figures are"
        f" in certificate.json, too; `scarlet verify` on the run's folder computes them again and compares."
    )
    details = certificate["details"]
    if "scaling" in details:
        costs = (details[f"searched_{name}"] for name in ("multiply_adds", "params"))
        yield f"As it was searched: {before_scaling(Scaling(**details['scaling']), *costs)}."
    yield from _checks(certificate)
    if "test" in details and (text := from_json(Score, details["test"], "certificate").warning):
        yield from ("", f"**{text[0].upper()}{text[1:]}.**")
    yield from _section("Files", _files_table(certificate))
    yield from _section("Latency", _latency_table(certificate))
    yield from _section("Dataset", _list({**dataset, "classes": len(dataset.get("classes", ()))}))
    yield from _section("Origin", _list({"seed": certificate["seeds"], **certificate["details"]}))
    yield from _section("Versions", _list(certificate["versions"]))
    yield from _section("SHA-256", _digests(certificate))


def _section(title: str, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    lines = list(lines)
    if lines:
        yield from ("", f"## {title}", "", *lines)


def _checks(certificate: Mapping[str, Any]) -> Iterator[str]:
    checks = [
        (row["file"], check) for row in certificate["files"] for check in (row["verification"] or {}).get("checks", ())
    ]
    failed = [(file, check) for file, check in checks if not check["passed"]]
    yield ""
    yield f"**{len(checks) - len(failed)} of {len(checks)} checks passed.**"
    for file, check in failed:
        yield f"- FAILED: {file}: {check['name']}: expected {check['expected']}, found {check['found']}"


def _files_table(certificate: Mapping[str, Any]) -> Iterator[str]:
    yield from _heading("file", "KiB", "top-1", "of images", "greatest logit difference", "same class", "partitions")
    for row in certificate["files"]:
        found = row["verification"] or {}
        difference = found.get("max_logit_difference")
        yield _row(
            row["file"],
            f"{row['bytes'] / 1024:.1f}",
            percent(found.get("top1")),
            found.get("num_images", "-"),
            "-" if difference is None else f"{difference:.2g}",
            percent(found.get("agreement")),
            "-" if found.get("partitions") is None else found["partitions"],
        )
    tops = {row["verification"]["model_top1"] for row in certificate["files"] if row["verification"]} - {None}
    if tops:
        yield ""
        yield f"The network in Keras, on the same images: {percent(tops.pop())}."


def _latency_table(certificate: Mapping[str, Any]) -> Iterator[str]:
    rows = [row for row in certificate["files"] if row["latency"]]
    if not rows:
        return
    yield "One image, LiteRT on: " + ", ".join(f"{key} {value}" for key, value in certificate["host"].items()) + "."
    yield "Not measured on a phone."
    yield ""
    yield from _heading("file", "median, ms", "median absolute deviation, ms", "runs", f"over {rows[0]['file']}")
    for row in rows:
        latency = row["latency"]
        figures = (
            f"{latency['milliseconds']:.4g}",
            f"{latency['deviation']:.2g}",
            latency["runs"],
            f"{latency['ratio']:.2f}",
        )
        yield _row(row["file"], *figures)


def _digests(certificate: Mapping[str, Any]) -> Iterator[str]:
    for row in (*certificate["files"], *certificate["other_files"]):
        yield f"    {row['sha256']}  {row['file']}"


def _list(figures: Mapping[str, Any]) -> list[str]:
    return [f"- {name}: {value}" for name, value in flat(figures)]


def _heading(*cells: str) -> tuple[str, str]:
    return _row(*cells), "|---" * len(cells) + "|"


def _row(*cells) -> str:
    return "| " + " | ".join(str(cell) for cell in cells) + " |"
