"""The stages of a run in order: train-supernet, search, retrain, export; each resumable."""

from scarlet_tf.pipeline.checking import is_run, verify_files, verify_run
from scarlet_tf.pipeline.reporting import write_report
from scarlet_tf.pipeline.run import Run, open_run
from scarlet_tf.pipeline.running import run_all, run_comparison, run_ranking, run_stage

__all__ = [
    "Run",
    "is_run",
    "open_run",
    "run_all",
    "run_comparison",
    "run_ranking",
    "run_stage",
    "verify_files",
    "verify_run",
    "write_report",
]
