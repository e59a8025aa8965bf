"""The stages of a run in order: train-supernet, search, retrain, export; each resumable."""

from scarlet_tf.pipeline.checking import verify_files
from scarlet_tf.pipeline.run import Run, open_run
from scarlet_tf.pipeline.running import run_all, run_comparison, run_ranking, run_stage

__all__ = ["Run", "open_run", "run_all", "run_comparison", "run_ranking", "run_stage", "verify_files"]
