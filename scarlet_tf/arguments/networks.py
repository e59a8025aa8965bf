"""Commands that state or check figures of networks and files."""

from __future__ import annotations

from scarlet_tf.arguments.common import add_adb, add_command, add_space


def add_cost(commands) -> None:
    """`scarlet cost`."""
    example = "scarlet cost scarlet_a; scarlet cost 0,1,2,... --space s1 --input-size 192; scarlet cost mnasnet_a1.yaml"
    command = add_command(commands, "cost", "count multiply-adds and parameters of a network", example, "cost")
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


def add_zoo(commands) -> None:
    """`scarlet zoo`."""
    example = "scarlet zoo; scarlet zoo scarlet_a4; scarlet zoo scarlet_a --scale; scarlet zoo my_net --add runs/my"
    text = "list the networks that can be built by name, published ones and your own, with their costs and accuracies"
    command = add_command(commands, "zoo", text, example, "zoo")
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
        help="add a run's network as NAME: the retrained one with its weights, else the best that the search found; it is copied"
        " into the folder SCARLET_ZOO_DIR (default: ~/.scarlet/zoo)",
    )
    actions.add_argument("--remove", action="store_true", help="delete your own network NAME from that folder")
    command.add_argument(
        "--pick", metavar="PICK", help="with --add: this pick of the search, as searched, without weights"
    )


def add_verify(commands) -> None:
    """`scarlet verify`."""
    example = "scarlet verify runs/digits; scarlet verify runs/digits/export/model_int8.tflite"
    text = (
        "compute a run's figures again and compare them with its certificate, or compare single files with the Keras network"
        " they came from, on the run's test images; exit code 1 where a check fails"
    )
    command = add_command(commands, "verify", text, example, "verify")
    command.add_argument(
        "files", metavar="RUN|FILE", nargs="+", help="a run folder, or .tflite files and SavedModels of one"
    )
    command.add_argument(
        "--run-dir", metavar="DIR", help="the run that files belong to (default: the folder they lie in)"
    )
    command.add_argument(
        "--digests-only", action="store_true", help="of a run: compare the files' SHA-256 alone, which needs no dataset"
    )


def add_benchmark(commands) -> None:
    """`scarlet benchmark`."""
    example = "scarlet benchmark runs/digits/export/model_*.tflite"
    text = "time .tflite files side by side with LiteRT: on this host, taking turns, or on a phone"
    command = add_command(commands, "benchmark", text, example, "benchmark")
    command.add_argument("files", metavar="FILE", nargs="+", help="a .tflite file; ratios are over the first one")
    command.add_argument("--threads", type=int, default=1, help="of LiteRT (default: 1)")
    command.add_argument("--rounds", type=int, default=10, help="turns of each file (default: 10)")
    command.add_argument(
        "--seconds", type=float, default=0.1, metavar="S", help="that a file runs in each turn (default: 0.1)"
    )
    command.set_defaults(quantization="none")
    add_adb(command)


def add_latency(commands) -> None:
    """`scarlet latency build` and `predict`."""
    text = "measure a space's parts with LiteRT, here or on a phone, or predict a network from such a table"
    latency = commands.add_parser("latency", help=text, description=text[0].upper() + text[1:] + ".")
    actions = latency.add_subparsers(metavar="ACTION", required=True)
    text = "measure every part of a space; started again, it continues"
    build = add_command(actions, "build", text, "scarlet latency build --space s2 --out s2.json", "latency_build")
    add_space(build)
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
    add_adb(build)
    text, example = "predict a network's figures", "scarlet latency predict scarlet_a --table s2.json"
    predict = add_command(actions, "predict", text, example, "latency_predict")
    predict.add_argument(
        "network", metavar="ARCH|ZOO_NAME", help="choices such as 4,8,2,..., or a name such as scarlet_a"
    )
    add_space(predict)
    predict.add_argument("--table", metavar="FILE", required=True, help="from `scarlet latency build`")
