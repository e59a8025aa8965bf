"""The sections of the page, in its order. A part that a run lacks is replaced by a sentence with the command that adds it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from scarlet_tf.report.page import betanas_plots, network_plots, search_plots, supernet_plots, tables
from scarlet_tf.report.page.blocks import Drawing, Gallery, Listing, Note, Section
from scarlet_tf.report.page.drawing import draw
from scarlet_tf.report.page.front_plot import front_plot
from scarlet_tf.report.page.networks import FoundNetwork, found_networks, front_table, shown_first
from scarlet_tf.report.page.record import Record
from scarlet_tf.space import Architecture
from scarlet_tf.words import before_scaling, millions, percent, plural

MONITORED_PATHS = "supernet.monitor_paths=32"


def sections(record: Record) -> list[Section]:
    """All sections for the run's kind."""
    networks = found_networks(record)
    parts: list[tuple[str, str, Callable[[], Iterator[Any]]]] = [
        ("front", "The front", lambda: _front(record, networks)),
        ("network", "The network", lambda: _network(record)),
        ("files", "The files", lambda: _files(record)),
        ("supernet", "The supernet", lambda: _supernet(record)),
        ("ranking", "The ranking", lambda: _ranking(record)),
        ("search", "The search", lambda: _search(record)),
        ("settings", "Configuration and environment", lambda: _settings(record)),
    ]
    searched_only = ("front", "supernet", "ranking", "search")
    wanted = [part for part in parts if record.is_searched or part[0] not in searched_only]
    return [Section(identifier, title, list(blocks())) for identifier, title, blocks in wanted]


def _front(record: Record, networks: Sequence[FoundNetwork]) -> Iterator[Any]:
    if not networks:
        yield _missing("The search has not written its front yet")
        return
    if record.front.get("stopped"):
        yield Note("The search was stopped before its last generation; this continues it:", record.command("search"))
    if len(networks) > 1 or record.evaluated:
        yield front_plot(record, networks)
    yield Gallery(networks, front_table(networks), shown_first(networks, record.wanted))


def _network(record: Record) -> Iterator[Any]:
    retrained = record.retrained
    if not retrained:
        yield _missing(f"No network was {'retrained' if record.is_searched else 'fine-tuned'} yet")
        return
    architecture = Architecture.from_dict(retrained["architecture"], record.space)
    encoding = f"{architecture.space.name}:{architecture.to_string()}"
    drawing = draw(architecture, record.image_size, "retrained-drawing", f"The network: {encoding}")
    yield Drawing("How it is built", drawing, "; ".join(_described(record, encoding)) + ".")
    yield from _present(network_plots.retraining_plot(record))
    yield from _folding(record)
    if record.optimization:
        shown = {key: value for key, value in record.optimization.items() if key != "settings"}
        yield tables.figures_table("Quantisation-aware training and pruning", shown)


def _described(record: Record, encoding: str) -> Iterator[str]:
    retrained = record.retrained
    yield encoding
    yield f"{millions(retrained['multiply_adds'])} multiply-adds and {millions(retrained['params'])} parameters"
    if "one_shot_accuracy" in retrained:
        yield f"one-shot accuracy {percent(retrained['one_shot_accuracy'])}"
    if "origin" in retrained:
        yield f"fine-tuned from {retrained['origin']['network']}"
    else:
        yield f"trained from {'scratch' if retrained['init'] == 'scratch' else 'the supernet'}"
    if "scaling" in retrained:
        yield f"drawn as it was searched: {before_scaling(retrained)}"


def _folding(record: Record) -> Iterator[Any]:
    table = tables.folding_table(record)
    if table is not None:
        yield table
    elif record.retrained.get("init") == "scratch":
        yield Note("It was trained from scratch, without linear transformations (LETs), so there was nothing to fold.")
    else:
        yield Note("It has no linear transformations (LETs), so there was nothing to fold.")


def _files(record: Record) -> Iterator[Any]:
    certificate = record.certificate
    if not certificate:
        yield _missing("Nothing is exported yet")
        return
    images = {row["verification"]["num_images"] for row in certificate["files"] if row["verification"]}
    about = " and ".join(plural(count, "test image") for count in sorted(images))
    yield Note(
        f"Each file was compared with the trained network on {about}. The certificate states more than this page; it is computed"
        " again by:",
        f"scarlet verify {record.folder}",
    )
    yield tables.export_table(certificate)
    yield from _present(tables.checks_table(certificate))
    yield tables.digests_table(certificate)
    if "latency" in certificate["details"]:
        yield tables.figures_table("Latency, predicted and measured", certificate["details"]["latency"])


def _supernet(record: Record) -> Iterator[Any]:
    if not record.supernet:
        yield _missing("The supernet's training is not finished")
    yield from _present(supernet_plots.training_plot(record), supernet_plots.histogram_plot(record))
    if record.monitor:
        verdict = record.monitor["verdict"]
        yield Note(f"The monitor's verdict: {verdict['text']}.")
        if verdict["checks"]:
            yield tables.monitor_table(verdict)
    elif record.is_betanas:
        yield Note("BetaNAS drops choices, so there is no fixed panel of paths that could be watched.")
    elif not record.supernet and not record.epochs:
        yield Note(
            "To watch one-shot accuracies from the first epoch on:",
            record.command("train-supernet", "--set", MONITORED_PATHS),
        )
    else:
        yield Note(
            "The training was not monitored, so one-shot accuracies are known from the search alone. A run that is:",
            record.new_run_command("monitored", "--set", MONITORED_PATHS),
        )
    yield from supernet_plots.fairness(record)


def _ranking(record: Record) -> Iterator[Any]:
    plot = network_plots.ranking_plot(record)
    if plot is not None:
        yield plot
        return
    yield Note(
        "Whether the supernet orders networks as their own trainings would is not measured. This trains some of them:",
        record.command("rank"),
    )


def _search(record: Record) -> Iterator[Any]:
    if record.is_betanas:
        found = [betanas_plots.importance_plot(record), betanas_plots.alpha_plot(record)]
    else:
        found = [search_plots.hypervolume_plot(record), search_plots.operators_plot(record)]
    yield from _present(*found)
    if not record.front and not any(found):
        yield _missing("The search has no generation yet")
    measured = record.front.get("measured")
    if measured is not None:
        yield tables.finalists_table(measured)
    plot = search_plots.comparison_plot(record)
    if plot is not None:
        yield plot
    elif not record.is_betanas:
        command = record.command("search", "--compare")
        yield Note("This search was not compared with random draws. This compares them:", command)


def _settings(record: Record) -> Iterator[Any]:
    yield tables.stages_table(record)
    if record.dataset:
        yield tables.dataset_table(record.dataset)
    yield from _present(tables.environment_table(record))
    yield Listing("config.yaml, every default written out", record.config_text)


def _missing(what: str) -> Note:
    return Note(f"{what}; scarlet run continues with that, see the command above.")


def _present(*blocks: Any) -> Iterator[Any]:
    yield from (block for block in blocks if block is not None)
