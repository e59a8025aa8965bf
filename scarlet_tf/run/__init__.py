"""A run: its stages in order, train-supernet, search, retrain, export, each resumable, on a folder that keeps their results."""

from scarlet_tf.run.folder import Run, is_run
from scarlet_tf.run.integrity import verify_files, verify_run
from scarlet_tf.run.stages import open_run, run_all, run_comparison, run_ranking, run_stage, write_report

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
