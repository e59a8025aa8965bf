"""RunForecast: an estimate of the whole run's time before the supernet's first step."""

from __future__ import annotations

import logging

import keras

from scarlet_tf.config.run_time import in_words, stage_seconds
from scarlet_tf.pipeline.run import Run

logger = logging.getLogger("scarlet_tf")


class RunForecast(keras.callbacks.Callback):
    """Log entry with the time of every stage of `run`, estimated from the steps that the training loop tries; see its Run."""

    def __init__(self, run: Run):
        super().__init__()
        self.run = run

    def on_rehearsal(self, first: float, seconds: float) -> None:
        """Log the forecast from the `seconds` of a step of the supernet; the first one took `first`."""
        data = self.run.data
        examples = {name: getattr(data, name).num_examples for name in ("train", "validation")}
        stages = stage_seconds(self.run.config, examples, data.num_classes, first, seconds)
        logger.info(
            "run forecast: %s (the supernet's steps were tried, what follows is estimated from them; other work on this"
            " machine counts)",
            in_words(stages),
        )
