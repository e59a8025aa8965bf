"""Run studies: the papers' claims, measured again at a small size.

    python tools/run_study.py configs/studies/let_vs_identity.yaml --out runs/studies

Several files run one after the other. The same command resumes after any interruption; results so far are always in
DIR/<study>/result.json, with plots beside it. DIR/cache keeps trained supernets and measurements, which studies share.
Prints one JSON object a study: a row for each supernet (or network) and seed, then means over seeds.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys

from scarlet_tf.base import logs

logs.quiet_frameworks()  # before anything imports TensorFlow

from scarlet_tf.base.errors import InputError  # noqa: E402
from scarlet_tf.run.folder import alone_in  # noqa: E402
from studies import searching, supernets  # noqa: E402
from studies.settings import load_study  # noqa: E402
from studies.workshop import Workshop  # noqa: E402

RUN = {
    "one_shot": supernets.one_shot,
    "curves": supernets.curves,
    "similarity": supernets.similarity,
    "ranking": supernets.ranking,
    "search": searching.run,
}


def main(argv=None) -> int:
    """Parse, run, print; return 0, 2 for bad input, or 130 when interrupted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", metavar="STUDY", nargs="+", help="a YAML file, such as in configs/studies")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of results and of what studies share")
    parser.add_argument("--set", metavar="KEY=VALUE", dest="overrides", action="append", default=[])
    arguments = parser.parse_args(argv)
    logs.log_to_terminal()
    stdout = sys.stdout  # libraries' output goes to the log
    try:
        studies = [load_study(path, arguments.overrides) for path in arguments.studies]
        with alone_in(arguments.out), logs.log_to_file(pathlib.Path(arguments.out) / "run.log"):
            for study in studies:
                table = RUN[study.kind](Workshop(study, arguments.out))
                print(json.dumps(table, allow_nan=False), file=stdout, flush=True)
    except InputError as error:
        print(f"run_study: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run_study: interrupted; the same command resumes", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
