"""The commands of `scarlet` and their options."""

from __future__ import annotations

import argparse
import importlib.metadata

_STAGE_HELP = {
    "train-supernet": "train the supernet fairly (stage 1 of 4)",
    "search": "search the trained supernet (stage 2)",
    "retrain": "train the picked network on its own (stage 3)",
    "optimize": "train on with 8-bit rounding, prune, or both, as `optimization` asks (between stages 3 and 4)",
    "export": "fold, export and verify the retrained network (stage 4)",
}


def make_parser() -> argparse.ArgumentParser:
    """The parser of every command; each command's --help ends with an example, and `handler` names what is to be done."""
    parser = argparse.ArgumentParser(
        prog="scarlet",
        description="From a dataset and a budget to the best compact vision network for a phone.",
        epilog="example: scarlet run configs/digits.yaml",
    )
    version = importlib.metadata.version("scarlet_tf")
    parser.add_argument("--version", action="version", version=f"scarlet {version}")
    parser.set_defaults(log=None)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_run(commands)
    for name, text in _STAGE_HELP.items():
        _add_stage(commands, name, text)
    _add_finetune(commands)
    _add_rank(commands)
    _add_report(commands)
    _add_cost(commands)
    _add_zoo(commands)
    _add_verify(commands)
    _add_benchmark(commands)
    _add_latency(commands)
    return parser


def _add_command(commands, name: str, text: str, example: str, handler: str) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", epilog=f"example: {example}"
    )
    command.add_argument("--json", action="store_true", help="print the figures as one JSON object and nothing else")
    command.set_defaults(handler=handler)
    return command


def _add_run(commands) -> None:
    example = "scarlet run configs/digits.yaml --set search.generations=5"
    command = _add_command(commands, "run", "run every stage in order; started again, it resumes", example, "run")
    _add_config(command, required=False)
    _add_max_hours(command, "each of the two trainings, of the supernet and of the picked network, and the search")
    _add_adb(command)


def _add_stage(commands, name: str, text: str) -> None:
    example = f"scarlet {name} configs/digits.yaml --run-dir runs/digits"
    command = _add_command(commands, name, text, example, "stage")
    command.set_defaults(stage=name, max_hours=None, adb=None, benchmark_model=None)
    _add_config(command, required=True)
    if name == "search":
        _add_compare(command)
    if name in ("search", "export"):
        _add_adb(command)
    if name in ("train-supernet", "retrain"):
        _add_max_hours(command, "training")
    if name == "search":
        command.add_argument(
            "--max-hours",
            type=float,
            metavar="H",
            help="the search ends within H hours, behind the group of models in hand (search.evaluation_group), with the best so"
            " far; 0 takes what was evaluated already; the same command without it goes on",
        )


def _add_compare(command: argparse.ArgumentParser) -> None:
    command.set_defaults(handler="search")
    group = command.add_argument_group(
        "comparison", "hypervolume against evaluations of several searches, in compare/ of the run folder; resumable"
    )
    group.add_argument("--compare", action="store_true", help="compare searches instead of running the run's own")
    group.add_argument("--seeds", type=int, nargs="+", metavar="N", help="of the searches (default: 0 1 2)")
    group.add_argument(
        "--algorithms",
        nargs="+",
        metavar="NAME",
        help="some of random, nsga2_plain, nsga2 (as configured), keras_tuner_random, keras_tuner_bayesian (default: all but"
        " the last, whose trials take longer the more there were)",
    )
    group.add_argument(
        "--evaluations", type=int, metavar="N", help="of each search (default: population_size * generations)"
    )


def _add_finetune(commands) -> None:
    text = "train a trained network further on images of your own and export it; started again, it resumes"
    example = (
        "scarlet finetune scarlet_a --weights scarlet_a.weights.h5 --data photos --image-size 96 --run-dir runs/photos"
    )
    command = _add_command(commands, "finetune", text, example, "finetune")
    command.add_argument(
        "network",
        metavar="NETWORK",
        help="a name such as scarlet_a, a run folder whose network is meant, or a YAML file whose `finetune` says which",
    )
    command.add_argument("--data", metavar="DIR", help="a folder of class folders, or of train/ and test/ with such")
    command.add_argument(
        "--weights", metavar="FILE", help="of a named network: a .weights.h5, or PyTorch's (default: random)"
    )
    command.add_argument("--image-size", type=int, metavar="PIXELS", help="default: the run's, 224 for a named network")
    command.add_argument("--epochs", type=int, metavar="N", help="default: 20")
    command.add_argument("--batch-size", type=int, metavar="N", help="default: 32")
    command.add_argument("--learning-rate", type=float, metavar="RATE", help="of SGD with momentum (default: 0.01)")
    command.add_argument(
        "--freeze-bn", action="store_true", default=None, help="batch normalisation stays as it is, statistics and all"
    )
    command.add_argument(
        "--train-from",
        metavar="PART",
        help="train this part and those behind it alone: a block such as block_12, tail or classifier",
    )
    command.add_argument(
        "--rate-decay",
        type=float,
        metavar="FACTOR",
        help="each block's learning rate is the next one's times this (default: 1; usual: 0.7 to 0.95)",
    )
    _add_folder(command, " (default: runs/<name of the data's folder>)", "--out")
    _add_max_hours(command, "training")


def _add_rank(commands) -> None:
    text = "measure how well the supernet orders networks, by training some of them on their own; resumable"
    command = _add_command(commands, "rank", text, "scarlet rank configs/digits.yaml --run-dir runs/digits", "rank")
    command.set_defaults(max_hours=None)
    _add_config(command, required=False)


def _add_report(commands) -> None:
    text = "write what a run folder holds, finished or not, as one HTML page that needs no network"
    command = _add_command(commands, "report", text, "scarlet report runs/digits", "report")
    command.add_argument("run_dir", metavar="RUN_DIR", help="a run folder")
    command.add_argument("--output", metavar="FILE", help="the page (default: report.html in the run folder)")


def _add_config(command: argparse.ArgumentParser, required: bool) -> None:
    command.add_argument("config", metavar="CONFIG", help="a YAML file, such as configs/digits.yaml")
    _add_folder(command, "" if required else " (default: runs/<name of the config file>)", required=required)


def _add_folder(command: argparse.ArgumentParser, default: str, *aliases: str, required: bool = False) -> None:
    text = f"folder of the run's files{default}"
    command.add_argument("--run-dir", *aliases, metavar="DIR", required=required, help=text)
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        dest="overrides",
        action="append",
        default=[],
        help="override one value of the config, such as search.generations=5; may be repeated",
    )


def _add_max_hours(command: argparse.ArgumentParser, what: str) -> None:
    command.add_argument(
        "--max-hours",
        type=float,
        metavar="H",
        help=f"{what} ends within H hours of its start, a training behind the last whole epoch that fits; the learning rate's"
        " schedule is not rescaled",
    )


def _add_cost(commands) -> None:
    example = "scarlet cost scarlet_a; scarlet cost 0,1,2,... --space s1 --input-size 192; scarlet cost mnasnet_a1.yaml"
    command = _add_command(commands, "cost", "count multiply-adds and parameters of a network", example, "cost")
    command.add_argument(
        "network",
        metavar="ARCH|ZOO_NAME|FILE",
        help="choices such as 4,8,2,..., a name such as scarlet_a, or the YAML or JSON file of any network (docs/foreign.md)",
    )
    command.add_argument("--space", help="s1, s2 (default), or the YAML file of a space of your own")
    size = command.add_mutually_exclusive_group()
    size.add_argument(
        "--input-size", type=int, metavar="PIXELS", help="side of the image (default: the space's or the file's, 224)"
    )
    command.add_argument("--classes", type=int, help="classes of the classifier (default: 1000, or the file's)")
    for group, what, of in (
        (command, "width", "of all widths, rounded to multiples of 8"),
        (command, "depth", "of the blocks in each stage, rounded up"),
        (size, "resolution", "of the image's side, rounded to a multiple of 8"),
    ):
        group.add_argument(f"--{what}-multiplier", type=float, default=1.0, metavar="X", help=f"{of} (default: 1)")


def _add_zoo(commands) -> None:
    example = "scarlet zoo; scarlet zoo scarlet_a4; scarlet zoo scarlet_a --scale; scarlet zoo my_net --add runs/my"
    text = "list the networks that can be built by name, published ones and your own, with their costs and accuracies"
    command = _add_command(commands, "zoo", text, example, "zoo")
    command.add_argument("network", nargs="?", metavar="NAME", help="one of them, in detail")
    actions = command.add_mutually_exclusive_group()
    actions.add_argument(
        "--scale",
        action="store_true",
        help="count NAME with EfficientNet's coefficients of width, depth and pixels, B0 to B4",
    )
    actions.add_argument(
        "--add",
        metavar="RUN",
        help="add a run's network as NAME: the retrained one with its weights, else the search's best pick; it is copied into"
        " the folder SCARLET_ZOO_DIR (default: ~/.scarlet/zoo)",
    )
    actions.add_argument("--remove", action="store_true", help="delete your own network NAME from that folder")
    command.add_argument(
        "--pick", metavar="PICK", help="with --add: this pick of the search, as searched, without weights"
    )


def _add_verify(commands) -> None:
    example = "scarlet verify runs/digits; scarlet verify runs/digits/export/model_int8.tflite"
    text = (
        "compute a run's figures again and compare them with its certificate, or compare single files with the Keras network"
        " they came from, on the run's test images; exit code 1 where a check fails"
    )
    command = _add_command(commands, "verify", text, example, "verify")
    command.add_argument(
        "files", metavar="RUN|FILE", nargs="+", help="a run folder, or .tflite files and SavedModels of one"
    )
    command.add_argument(
        "--run-dir", metavar="DIR", help="the run that files belong to (default: the folder they lie in)"
    )
    command.add_argument(
        "--digests-only", action="store_true", help="of a run: compare the files' SHA-256 alone, which needs no dataset"
    )


def _add_benchmark(commands) -> None:
    example = "scarlet benchmark runs/digits/export/model_*.tflite"
    text = "time .tflite files side by side with LiteRT: on this host, taking turns, or on a phone"
    command = _add_command(commands, "benchmark", text, example, "benchmark")
    command.add_argument("files", metavar="FILE", nargs="+", help="a .tflite file; ratios are over the first one")
    command.add_argument("--threads", type=int, default=1, help="of LiteRT (default: 1)")
    command.add_argument("--rounds", type=int, default=10, help="turns of each file (default: 10)")
    command.add_argument(
        "--seconds", type=float, default=0.1, metavar="S", help="that a file runs in each turn (default: 0.1)"
    )
    command.set_defaults(quantization="none")
    _add_adb(command)


def _add_latency(commands) -> None:
    text = "measure a space's parts with LiteRT, here or on a phone, or predict a network from such a table"
    latency = commands.add_parser("latency", help=text, description=text[0].upper() + text[1:] + ".")
    actions = latency.add_subparsers(metavar="ACTION", required=True)
    text = "measure every part of a space; started again, it continues"
    build = _add_command(actions, "build", text, "scarlet latency build --space s2 --out s2.json", "latency_build")
    _add_space(build)
    build.add_argument("--input-size", type=int, metavar="PIXELS", help="side of the image (default: the space's)")
    build.add_argument("--classes", type=int, default=1000, help="classes of the classifier (default: 1000)")
    build.add_argument("--threads", type=int, default=1, help="of LiteRT (default: 1)")
    build.add_argument(
        "--quantization",
        default="none",
        metavar="NAME",
        help="of the files: none (float32, the default), float16, dynamic, int8 or full_int8",
    )
    build.add_argument(
        "--networks",
        type=int,
        metavar="N",
        help="measured whole, to correct the table and to say how far off it is (default: 10; 0: none)",
    )
    build.add_argument("--passes", type=int, metavar="N", help="over all parts; the fastest counts (default: 5)")
    build.add_argument(
        "--out",
        metavar="FILE",
        required=True,
        help="the table, YAML if it ends in .yaml or .yml, else JSON; `search.table` of a config names it",
    )
    _add_adb(build)
    text, example = "predict a network's figures", "scarlet latency predict scarlet_a --table s2.json"
    predict = _add_command(actions, "predict", text, example, "latency_predict")
    predict.add_argument(
        "network", metavar="ARCH|ZOO_NAME", help="choices such as 4,8,2,..., or a name such as scarlet_a"
    )
    _add_space(predict)
    predict.add_argument("--table", metavar="FILE", required=True, help="from `scarlet latency build`")


def _add_adb(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("on a phone", "over adb; tested against a stand-in for it, on no device yet")
    group.add_argument(
        "--adb",
        nargs="?",
        const="",
        metavar="SERIAL",
        help="measure latencies on this Android device, or on the only one there is",
    )
    group.add_argument(
        "--benchmark-model",
        metavar="PATH",
        help="TFLite's benchmark_model for the device: a file here, which is copied there, or its path on the device (default:"
        " /data/local/tmp/benchmark_model)",
    )


def _add_space(command: argparse.ArgumentParser) -> None:
    either = command.add_mutually_exclusive_group()
    either.add_argument(
        "--space", help="s1, s2 (default), or the YAML file of a space of your own; a zoo network brings its own"
    )
    either.add_argument("--config", metavar="CONFIG", help="the YAML file of a run, whose space is meant")
