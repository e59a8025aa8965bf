"""Checks of exported files: what fails, at which limit, and what is not asked of which kind of file."""

import pytest

from scarlet_tf.base.errors import InputError
from scarlet_tf.export.verification import Limits, check_file

RESULT = {
    "inputs": [{"name": "image"}],
    "outputs": [{"name": "logits"}],
    "operations": {"CONV_2D": 3},
    "builtins_only": True,
    "partitions": 1,
    "max_logit_difference": 1e-5,
    "max_model_logit": 0.5,
    "top1_delta": 0.0,
    "num_images": 200,
}

DEFAULT = Limits()


def failed(quantization="none", limits=DEFAULT, **changes):
    return [check.name for check in check_file({**RESULT, **changes}, quantization, limits) if not check.passed]


def test_a_good_file_passes_every_check():
    assert failed() == [] and len(check_file(RESULT, "none", Limits())) == 6


@pytest.mark.parametrize(
    "changes, name",
    [
        ({"inputs": [{"name": "args_0"}]}, "input name"),
        ({"outputs": [{"name": "logits"}, {"name": "more"}]}, "output name"),
        ({"operations": {"CUSTOM:FlexErf": 1}, "builtins_only": False}, "operations"),
        ({"partitions": 2}, "delegate partitions"),
        ({"partitions": 0}, "delegate partitions"),
        ({"max_logit_difference": 1.1e-3}, "logits"),
        ({"max_logit_difference": float("nan")}, "logits"),
        ({"top1_delta": -0.021}, "top-1"),
    ],
)
def test_each_thing_that_is_wrong_fails_its_check_alone(changes, name):
    assert failed(**changes) == [name]


def test_limits_are_relative_to_great_logits_and_are_what_was_asked_for():
    assert failed(max_logit_difference=0.009, max_model_logit=10.0) == []
    assert failed(max_logit_difference=0.011, max_model_logit=10.0) == ["logits"]
    assert failed(limits=Limits(max_top1_drop=0.03), top1_delta=-0.021) == []
    assert failed(top1_delta=0.5) == []  # better is not worse


def test_rounding_and_partitions_are_not_asked_of_files_that_have_others():
    assert failed("int8", max_logit_difference=0.4) == []
    assert failed("int8", partitions=5) == ["delegate partitions"]
    assert failed("dynamic", partitions=2) == failed("full_int8", partitions=5) == failed(None, partitions=5) == []
    saved_model = {"operations": None, "builtins_only": None, "partitions": None}
    assert failed(**saved_model) == []


def test_limits_below_zero_are_refused():
    with pytest.raises(InputError, match="max_top1_drop: expected a number >= 0, got -1"):
        Limits(max_top1_drop=-1)
    with pytest.raises(InputError, match="max_logit_difference"):
        Limits(max_logit_difference=float("nan"))
