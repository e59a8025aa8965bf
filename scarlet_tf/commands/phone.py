"""The phone that --adb names."""

from __future__ import annotations

import argparse

from scarlet_tf.errors import InputError


def adb_options(arguments: argparse.Namespace) -> dict | None:
    """The phone that --adb names, as arguments of an AdbRunner; None without it."""
    if arguments.adb is None and arguments.benchmark_model is not None:
        raise InputError("--benchmark-model: expected --adb with it")
    if arguments.adb is None:
        return None
    return {"serial": arguments.adb or None, "benchmark_model": arguments.benchmark_model}


def device_runner(arguments: argparse.Namespace):
    """The runner on the phone that --adb names; None without it."""
    adb = adb_options(arguments)
    if adb is None:
        return None
    from scarlet_tf.export.adb import AdbRunner

    return AdbRunner(**adb, threads=arguments.threads, quantization=arguments.quantization)
