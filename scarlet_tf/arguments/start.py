"""Commands of the first hour: a check of the machine, a configuration for the user's images, shell completion."""

from __future__ import annotations

from scarlet_tf.arguments.common import add_command

SHELLS = ("bash", "zsh", "tcsh")


def add_doctor(commands) -> None:
    """`scarlet doctor`."""
    text = (
        "check what runs need: Python, packages, devices, memory, disk, folders of data, and what training and"
        " export compute, against plain Keras with oneDNN on and off; exit code 1 where something is a problem"
    )
    command = add_command(commands, "doctor", text, "scarlet doctor --config my.yaml", "doctor")
    command.add_argument("--config", metavar="CONFIG", help="check this configuration and its images, too")


def add_init(commands) -> None:
    """`scarlet init`."""
    text = "look at images and write a commented configuration for them and a budget"
    example = "scarlet init photos --time 10m; scarlet init tfds:cifar10 --budget 4M; scarlet init digits --budget 0.6M"
    command = add_command(commands, "init", text, example, "init")
    command.add_argument(
        "dataset",
        metavar="DATASET",
        help="a folder of class folders (with or without train/ and test/ above them), a prepared TFDS folder, tfds:NAME,"
        " which is downloaded if it is not prepared, or digits",
    )
    command.add_argument(
        "--budget",
        metavar="M",
        help="multiply-adds that the network stays below, such as 60M; without it --time decides, or the error says what is in"
        " reach",
    )
    command.add_argument(
        "--time",
        metavar="T",
        help="what the whole run may take on this machine, such as 10m or 1h30m: a few steps are tried, and lengths, and without"
        " --budget the space, are chosen so that the forecast stays within it",
    )
    command.add_argument("--out", metavar="FILE", help="the file to write (default: <name of the dataset>.yaml)")
    command.add_argument("--name", help="of the run (default: the file's name)")
    command.add_argument(
        "--hours",
        type=float,
        metavar="H",
        help="for the two trainings and the search together; the next command then has a --max-hours for each of them",
    )
    command.add_argument("--force", action="store_true", help="replace the file if it exists")


def add_completion(commands) -> None:
    """`scarlet completion`."""
    text = "print a script that completes commands, options and files in a shell"
    example = "scarlet completion bash"
    command = add_command(commands, "completion", text, example, "completion", prints_figures=False)
    command.add_argument("shell", choices=SHELLS, help="bash, zsh or tcsh")
