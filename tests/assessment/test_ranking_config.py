import dataclasses

import pytest

from scarlet_tf.assessment.config import RankingConfig
from scarlet_tf.base.errors import InputError
from scarlet_tf.space.scaling import Scaling
from scarlet_tf.training.config import RetrainConfig


def test_training_is_retraining_with_the_values_given():
    retrain = RetrainConfig(epochs=100, batch_size=32, learning_rate=0.1, pick=2, init="supernet", dropout=0.3)
    training = RankingConfig(epochs=10, learning_rate=0.5).training(retrain)
    assert (training.epochs, training.batch_size, training.learning_rate) == (10, 32, 0.5)
    assert (training.pick, training.init, training.dropout, training.warmup_epochs) == ("best", "scratch", 0.3, 5.0)


@pytest.mark.parametrize("field", dataclasses.fields(Scaling), ids=lambda field: field.name)
def test_networks_are_ranked_as_they_were_searched(field):
    """Each way of scaling on its own, one that is added later included."""
    retrain = RetrainConfig(**{field.name: field.default + 0.5})
    assert getattr(retrain.scaling, field.name) == field.default + 0.5
    training = RankingConfig().training(retrain)
    assert getattr(training, field.name) == field.default and training.scaling.is_none


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"architectures": 2, "strata": 1}, "ranking.architectures: expected an integer >= 3, got 2"),
        (
            {"architectures": 4, "strata": 5},
            "ranking.strata: expected at most ranking.architectures, which is 4, got 5",
        ),
        ({"epochs": 0}, "ranking.epochs: expected an integer >= 1 or null, got 0"),
        ({"learning_rate": -1.0}, "ranking.learning_rate: expected a number > 0 or null, got -1.0"),
        ({"bootstrap_resamples": 0}, "ranking.bootstrap_resamples: expected an integer >= 1, got 0"),
        ({"seed": -1}, "ranking.seed: expected an integer >= 0, got -1"),
    ],
)
def test_bad_values_are_named(values, message):
    with pytest.raises(InputError) as caught:
        RankingConfig(**values)
    assert str(caught.value) == message


def test_warmup_has_to_end_before_the_training():
    with pytest.raises(InputError, match=r"ranking.warmup_epochs: expected less than the 5 epochs .*got 5"):
        RankingConfig(epochs=5).training(RetrainConfig())
    assert RankingConfig(epochs=5, warmup_epochs=1.0).training(RetrainConfig()).warmup_epochs == 1.0
