"""Networks trained on their own and scored on two splits, each once for all studies."""

from __future__ import annotations

import dataclasses
import gc
import shutil

from scarlet_tf.assessment.store import Store, name_of
from scarlet_tf.data.splits import Split
from scarlet_tf.evaluation.scoring import evaluate
from scarlet_tf.space import Architecture
from scarlet_tf.training.config import RetrainConfig
from scarlet_tf.training.network import retrain
from studies.workshop import Workshop


def trained_alone(shop: Workshop, architecture: Architecture, settings: RetrainConfig, test: Split) -> dict:
    """{"validation", "test"}: accuracies of the network after its training; a killed training resumes.

    `test` are images by which nothing is chosen, the same ones in every call.
    """
    settings = dataclasses.replace(settings, validate_every_epochs=settings.epochs + 1)  # it is measured at the end
    known = {key: value for key, value in dataclasses.asdict(settings).items() if key != "checkpoint_seconds"}
    known |= {"space": shop.study.space.fingerprint, "test_images": test.num_examples, **shop.data_context}
    store = Store(shop.cache, "alone", known)
    work = store.folder / name_of(architecture)

    def train() -> dict:
        model, figures = retrain(
            architecture,
            shop.data.train,
            shop.data.validation,
            settings,
            run_dir=work,
            input_shape=shop.input_shape,
            num_classes=shop.data.num_classes,
        )
        tested = evaluate(model, test.batches(settings.batch_size))
        gc.collect()  # the network's traced graphs refer to one another
        return {"validation": figures["validation"]["accuracy"], "test": tested["accuracy"]}

    found = store.get(name_of(architecture), train)
    shutil.rmtree(work, ignore_errors=True)  # checkpoints; the figures are kept
    return found
