"""Scenes, figures and a few steps of the worked examples of detection and segmentation."""

import json

import numpy as np
import pytest

import train_digit_scenes


def test_scenes_hold_what_their_labels_say():
    scenes = train_digit_scenes.make_scenes(20, 96, seed=1)
    assert scenes.images.shape == (20, 96, 96, 3)
    assert scenes.images.min() >= -1
    assert scenes.images.max() <= 1
    for mask, boxes, labels in zip(scenes.masks, scenes.boxes, scenes.labels, strict=True):
        assert 1 <= len(boxes) <= 4
        covered = np.zeros_like(mask, bool)
        for (left, top, right, bottom), label in zip(boxes.astype(int), labels, strict=True):
            inside = mask[top:bottom, left:right] == 1 + label
            for edge in (inside[0], inside[-1], inside[:, 0], inside[:, -1]):
                assert edge.any()  # the box is tight
            covered[top:bottom, left:right] = True
        assert not mask[~covered].any()


def test_scenes_are_a_function_of_the_seed_and_test_digits_are_others():
    first, second = (train_digit_scenes.make_scenes(3, 64, seed=4) for _ in range(2))
    np.testing.assert_array_equal(first.images, second.images)
    train, test = (train_digit_scenes._digits(part)[0] for part in (False, True))
    assert len(train) + len(test) == 1797
    assert not np.array_equal(train_digit_scenes.make_scenes(3, 64, seed=4, test=True).images, first.images)


def test_overlap_of_boxes_by_hand():
    found = train_digit_scenes.box_iou(
        np.array([[0, 0, 2, 2.0]]), np.array([[1, 1, 3, 3.0], [0, 0, 2, 2], [5, 5, 6, 6]])
    )
    np.testing.assert_allclose(found, [[1 / 7, 1, 0]])


def test_average_precision_by_hand():
    """In the order of scores: hit, miss, hit, of three objects: precisions 1, 1/2, 2/3 at recalls 1/3 and 2/3."""
    box, far = [0, 0, 10, 10.0], [50, 50, 60, 60.0]
    truth = [
        {"boxes": np.array([box, far]), "classes": np.array([1, 1])},
        {"boxes": np.array([box]), "classes": np.array([1])},
    ]
    found = [
        {
            "boxes": np.array([box, box]),
            "scores": np.array([0.9, 0.8]),
            "classes": np.array([1, 1]),
        },  # the second: claimed
        {"boxes": np.array([box, box]), "scores": np.array([0.7, 0.99]), "classes": np.array([1, 0])},
    ]
    assert train_digit_scenes.average_precision(found, truth, 1) == pytest.approx((1 + 2 / 3) / 3)
    assert train_digit_scenes.average_precision(found, truth, 0) is None
    assert train_digit_scenes.mean_average_precision(found, truth, 3) == pytest.approx((1 + 2 / 3) / 3)
    nothing = [{"boxes": np.zeros((0, 4)), "scores": np.zeros(0), "classes": np.zeros(0, int)}] * 2
    assert train_digit_scenes.mean_average_precision(nothing, truth, 3) == 0


def test_mean_overlap_of_label_maps_by_hand():
    truth, found = np.array([[0, 0, 1, 1]]), np.array([[0, 1, 1, 2]])
    assert train_digit_scenes.mean_iou(found, truth, 4) == pytest.approx(
        (1 / 2 + 1 / 3) / 2
    )  # 2 and 3 are not in the truth


@pytest.mark.slow
@pytest.mark.parametrize(("example", "figure"), [("detection", "average_precision"), ("segmentation", "mean_iou")])
def test_examples_train_and_print_their_figures(example, figure, capsys):
    train_digit_scenes.main([example, "--steps", "2", "--size", "32", "--test-scenes", "4"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert 0 <= figures[figure] <= 1
    assert figures["last_loss"] > 0
