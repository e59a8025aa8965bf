"""The prediction of large runs, by hand."""

import json
import sys

import pytest
from test_training_benches import one_layer

import predict_scale
from scarlet_tf.space.choices import Choice


def predicted(capsys, monkeypatch, *options):
    """Rows by (stage, accelerators), with nothing to search; the rows of the printed table."""
    monkeypatch.setattr(
        sys, "argv", ["predict_scale.py", "--spaces", "s1", "--generations", "2", "--population", "2", *options]
    )
    predict_scale.main()
    *table, result = capsys.readouterr().out.splitlines()
    return {(row["stage"], row["accelerators"]): row for row in json.loads(result)["rows"]}, table


def test_work_speed_and_memory_by_hand(capsys, monkeypatch):
    """Two paths over 8 x 8 pixels, see test_training_benches; 1e12 x 0.5 / 2 multiply-adds a second; one step of 10 images."""
    space = one_layer((Choice(2, 3), Choice()))
    monkeypatch.setattr(predict_scale, "space_named", lambda name: space)
    monkeypatch.setattr(predict_scale.Work, "search", lambda work, count: predict_scale._row(0.0, 0.0, 0.0))
    given = "--pixels 8 --peak-tflops 1 --share 0.5 --training-images 10 --epochs 1 --batch-size 10 --link-gigabytes 1"
    rows, table = predicted(capsys, monkeypatch, *given.split(), "--accelerators", "1", "4")
    conv, rest_of_stem, let, tail = 27 * 8 * 16, (9 * 8 + 8 * 8) * 16, 8 * 8 * 4, 8 * 16 * 4 + 16 * 1000
    block = 8 * 16 * 16 + 9 * 16 * 4 + 16 * 8 * 4
    step = 10 * (2 * conv + 3 * (rest_of_stem + block + let + 2 * tail))
    assert rows["supernet", 1]["hours"] == pytest.approx(step / 0.25e12 / 3600)
    # Weights, two BN parameters a channel, the classifier's bias; stem and tail once.
    params = 27 * 8 + 9 * 8 + 64 + 2 * (8 + 8 + 8) + 8 * 16 + 32 + 17 * 1000
    params += 8 * 16 + 9 * 16 + 16 * 8 + 2 * (16 + 16 + 8) + 64
    added_up = 2 * 3 / 4 * 4 * params / 1e9
    assert rows["supernet", 4]["hours"] == pytest.approx((step / 4 / 0.25e12 + added_up) / 3600, rel=0.01)
    assert rows["supernet", 4]["images_per_second"] == pytest.approx(10 / (3600 * rows["supernet", 4]["hours"]))
    # Quadratic in pixels against 64 pixels, where 32 images take what was measured.
    whole = predict_scale.MEASURED["s1"]["sequential"] * 10 / 32 / 64 + 12 * params
    assert rows["supernet", 1]["gigabytes"] == pytest.approx(whole / 1e9, rel=0.02)
    # Four finalists and three rivals: 7, 4 and 2 networks for a quarter, a quarter and half of 350 epochs.
    assert rows["race", 1]["hours"] == pytest.approx(350 * 10 * (7 / 4 + 4 / 4 + 2 / 2) * 3 * 500e6 / 0.25e12 / 3600)
    assert len(table) == 1 + len(rows) == 7


def test_search_on_more_accelerators_takes_less_time(capsys, monkeypatch):
    rows, _ = predicted(capsys, monkeypatch, "--pixels", "32", "--accelerators", "1", "4")
    one, four = (rows["search", count]["hours"] for count in (1, 4))
    assert one / 4 < four < one
    assert rows["supernet", 1]["hours"] > rows["supernet", 4]["hours"] > rows["supernet", 1]["hours"] / 4
