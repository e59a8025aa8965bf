import io
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.datasets import load_sample_image

from scarlet_tf.base.errors import InputError
from scarlet_tf.data import augmentation
from scarlet_tf.data.decoding import can_crop, decode, decode_and_crop, orientation, upright
from scarlet_tf.data.preprocessing import Preprocessing


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encode(image, file_format="png", **options):
    file = io.BytesIO()
    image.save(file, file_format, **options)
    return file.getvalue()


def test_prepare_normalises_by_hand_computed_values():
    image = np.full([4, 4, 3], 51, np.uint8)
    assert Preprocessing(4).prepare(image).numpy() == pytest.approx(-0.6)
    assert Preprocessing(4, normalization="unit").prepare(image).numpy() == pytest.approx(0.2)
    expected = (0.2 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(Preprocessing(4, normalization="imagenet").prepare(image)[0, 0], expected, atol=1e-5)
    assert Preprocessing(4, normalization="lite").prepare(image).numpy() == pytest.approx(-76 / 128)
    given = {"mean": [41, 51, 71], "std": [10, 1, 40]}
    np.testing.assert_allclose(Preprocessing(4, normalization=given).prepare(image)[3, 3], [1, 0, -0.5], atol=1e-6)
    assert Preprocessing(4, normalization={"mean": 50, "std": 0.5}).prepare(image).numpy() == pytest.approx(2)


def test_prepare_crops_the_central_square():
    image = np.zeros([8, 16, 3], np.uint8)
    image[2:6, 6:10] = 255
    assert Preprocessing(4, crop_fraction=0.5).prepare(image).numpy().min() == 1.0


def test_prepare_gives_the_same_for_batches_single_images_and_unknown_sizes():
    preprocessing, images = Preprocessing(12, crop_fraction=0.875), noise(3, 21, 34, 3)
    dynamic = tf.function(preprocessing.prepare, input_signature=[tf.TensorSpec([None, None, 3], tf.uint8)])
    batch = preprocessing.prepare(images).numpy()
    for image, prepared in zip(images, batch, strict=True):
        np.testing.assert_array_equal(preprocessing.prepare(image), prepared)
        np.testing.assert_array_equal(dynamic(image), prepared)


def test_prepare_resizes_like_pillow():
    # Pillow rounds to whole levels, so up to half a level and its fixed-point arithmetic are allowed.
    image = Image.fromarray(noise(40, 40, 3))
    expected = np.asarray(image.resize((10, 10), Image.Resampling.BILINEAR), np.float32)
    got = Preprocessing(10).prepare(np.asarray(image)).numpy() * 127.5 + 127.5
    assert np.abs(got - expected).max() < 1.0


@pytest.mark.parametrize("size", [20, 60, 150, 427])
def test_bicubic_resizes_a_photograph_like_pillow(size):
    # Pillow rounds and cuts to whole levels after the columns and again after the rows: half a level each, the first one
    # weighted by the kernel, whose absolute values sum to up to 1.4; where it cuts in between, beside edges, more.
    square = load_sample_image("china.jpg")[:, 100:527]
    expected = np.asarray(Image.fromarray(square).resize((size, size), Image.Resampling.BICUBIC), np.float32)
    got = Preprocessing(size, normalization={"mean": 0, "std": 1}, resizing="bicubic").prepare(square).numpy()
    difference = np.abs(got - expected)
    assert got.min() >= 0 and got.max() <= 255
    assert difference.mean() < 0.4 and difference.max() < 4
    bilinear = Preprocessing(size, normalization={"mean": 0, "std": 1}).prepare(square).numpy()
    assert np.abs(bilinear - got).mean() > 1 or size == 427


def test_bicubic_gives_values_worked_out_by_hand():
    # Doubling an edge of 0 | 128: the kernel at 0.25, 0.75, 1.25, 1.75 pixels is 111, 29, -9, -3 of 128.
    image = np.zeros([4, 4, 3], np.uint8)
    image[:, 2:] = 128
    how = Preprocessing(8, normalization={"mean": 0, "std": 1}, resizing="bicubic")
    row = how.prepare(image)[5, :, 0].numpy()
    # The outer ones lack pixels beyond the border, for which the others' weights are divided by their sum.
    expected = [0, 0, 0, 26, 102, 140 / 131 * 128, 140 / 137 * 128, 128]
    expected[2], expected[5] = 0, 128 * (111 + 29) / (111 + 29 - 9)
    expected[6] = 128 * (111 + 29) / (111 + 29 - 3)
    np.testing.assert_allclose(row, expected, atol=1e-3)


def test_bicubic_training_crops_are_those_of_the_box(monkeypatch):
    preprocessing = Preprocessing(16, augmentation="inception", resizing="bicubic")
    image, seed = noise(40, 50, 3), tf.constant([1, 2])
    monkeypatch.setattr(augmentation, "_color_jitter", lambda pixels, seed: pixels)
    got = preprocessing.distort(image, seed).numpy()
    seeds = tf.random.split(seed, 3)
    begin, extent = augmentation._sample_box(tf.shape(image), seeds[0])
    box = tf.slice(image, begin, extent).numpy()
    expected = np.asarray(Image.fromarray(box).resize((16, 16), Image.Resampling.BICUBIC), np.float32)
    closest = min(np.abs(got - turned).mean() for turned in (expected, expected[:, ::-1]))
    assert closest < 0.6 and got.min() >= 0 and got.max() <= 255
    other = Preprocessing(16, augmentation="inception").distort(image, seed).numpy()
    assert np.abs(other - got).mean() > 1


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_prepare_makes_three_channels(channels):
    image = noise(6, 6, channels)
    prepared = Preprocessing(6, normalization="unit").prepare(image).numpy() * 255
    expected = np.repeat(image[..., :1], 3, -1) if channels < 3 else image[..., :3]
    np.testing.assert_allclose(prepared, expected, atol=1e-4)


def test_prepare_refuses_other_channel_counts():
    with pytest.raises(InputError, match=r"1 to 4 channels.*\(6, 6, 5\)"):
        Preprocessing(6).prepare(noise(6, 6, 5))


def test_decode_and_prepare_equals_prepare_of_the_pixels():
    preprocessing, image = Preprocessing(16, crop_fraction=0.9), noise(30, 20, 3)
    decoded = preprocessing.decode_and_prepare(tf.constant(encode(Image.fromarray(image))))
    np.testing.assert_array_equal(decoded, preprocessing.prepare(image))


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("endian", ["<", ">"])
def test_decode_turns_photographs_upright(value, endian):
    pixels = np.kron(noise(2, 3, 3), np.ones([16, 16, 1], np.uint8))
    exif = Image.Exif()
    exif.endian = endian
    exif[0x010F] = "maker"
    exif[0x0112] = value
    photograph = encode(Image.fromarray(pixels), "jpeg", exif=exif, quality=95)
    plain = decode(tf.constant(encode(Image.fromarray(pixels), "jpeg", quality=95))).numpy()
    turned = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.transpose(1, 0, 2),
        6: np.rot90(plain, -1),
        7: np.rot90(plain, 2).transpose(1, 0, 2),
        8: np.rot90(plain, 1),
    }[value]
    assert orientation(tf.constant(photograph)).numpy() == value
    np.testing.assert_array_equal(decode(tf.constant(photograph)), turned)
    np.testing.assert_array_equal(upright(plain, tf.constant(value)), turned)


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_decode_reads_webp_as_pillow_does_and_drops_transparency(mode, lossless):
    file = encode(Image.fromarray(noise(8, 9, len(mode)), mode), "webp", lossless=lossless, exact=True)
    expected = np.asarray(Image.open(io.BytesIO(file)).convert("RGBA"))[..., :3]
    np.testing.assert_array_equal(tf.function(decode)(tf.constant(file)), expected)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(file[: len(file) // 2]))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_decode_refuses_an_animated_webp_file(mode):
    frames = [Image.fromarray(noise(8, 9, len(mode), seed=seed), mode) for seed in range(3)]
    file = encode(frames[0], "webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(file))


@pytest.mark.parametrize("start", [b"", b"RIFF", b"RIFF1234WEBPVP8X", b"BM", b"text"])
def test_decode_refuses_what_is_too_short_for_a_header(start):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decode(tf.constant(start))


def test_decode_handles_unusual_files():
    pixels = np.kron(noise(2, 2, 3), np.ones([8, 8, 1], np.uint8))
    image = Image.fromarray(pixels)
    animation = encode(image, "gif", save_all=True, append_images=[image.rotate(90)])
    deep = encode(Image.fromarray((np.arange(64).reshape(8, 8) * 1024).astype(np.uint16)))
    assert np.abs(decode(tf.constant(encode(image.convert("RGBA")))).numpy() - pixels).max() == 0
    assert np.abs(decode(tf.constant(encode(image.convert("CMYK"), "jpeg"))).numpy() - pixels.astype(int)).mean() < 8
    assert decode(tf.constant(animation)).shape == (16, 16, 3)
    np.testing.assert_array_equal(decode(tf.constant(deep))[..., 0], np.arange(64).reshape(8, 8) * 4)


def distorted(preprocessing, images, seed):
    return preprocessing.normalize(preprocessing.distort(images, seed)).numpy()


@pytest.mark.parametrize("augmentation", ["shift", "crop_flip", "inception"])
def test_distortion_is_a_function_of_the_seed(augmentation):
    preprocessing, images = Preprocessing(16, augmentation=augmentation), noise(4, 20, 24, 3)
    first, again, other = (distorted(preprocessing, images, [3, seed]) for seed in (1, 1, 2))
    assert first.shape == (4, 16, 16, 3) and np.abs(first).max() <= 1
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert distorted(preprocessing, images[0], [3, 1]).shape == (16, 16, 3)


def test_shift_moves_without_mirroring_and_crop_flip_mirrors_half():
    columns = np.broadcast_to(np.arange(16, dtype=np.uint8)[None, None, :, None] * 10 + 50, [64, 16, 16, 3])
    shifted = distorted(Preprocessing(16, normalization="unit", augmentation="shift"), columns, [0, 0])
    flipped = distorted(Preprocessing(16, normalization="unit", augmentation="crop_flip"), columns, [0, 0])
    rises = np.diff(shifted[:, 8, 2:-2, 0], axis=1)
    np.testing.assert_allclose(rises, 10 / 255, atol=1e-5)
    mirrored = (np.diff(flipped[:, 8, 2:-2, 0], axis=1) < 0).all(axis=1)
    assert 16 < mirrored.sum() < 48
    assert len(np.unique(np.asarray(shifted[:, 8, 8, 0]).round(4))) == 5


def test_round_trips_and_refuses_bad_values():
    preprocessing = Preprocessing(224, 0.875, "imagenet", "inception")
    assert Preprocessing.from_dict(preprocessing.to_dict()) == preprocessing
    explicit = Preprocessing(32, normalization={"mean": [103.9, 116.8, 123.7], "std": 58}, resizing="bicubic")
    again = Preprocessing.from_dict(json.loads(json.dumps(explicit.to_dict())))
    assert again == explicit and hash(again) == hash(explicit) and again.std == (58.0, 58.0, 58.0)
    with pytest.raises(InputError, match=r"preprocessing\.normalization\.std\[1\]: expected a number > 0, got 0"):
        Preprocessing(32, normalization={"mean": 0, "std": [1, 0, 1]})
    with pytest.raises(InputError, match=r"preprocessing\.crop_fraction: .* 1\.5"):
        Preprocessing(224, 1.5)
    with pytest.raises(InputError, match=r'preprocessing\.resizing: expected one of bilinear, bicubic, got "area"'):
        Preprocessing(224, resizing="area")
    with pytest.raises(InputError, match=r'preprocessing\.normalization: .* "caffe"'):
        Preprocessing(224, normalization="caffe")
    with pytest.raises(InputError, match=r"preprocessing\.size: unknown key"):
        Preprocessing.from_dict({"size": 3})


def photograph(height, width, seed=0):
    """Coarse colours with fine noise on them: edges within and between the blocks of a JPEG file."""
    coarse = np.kron(noise(-(-height // 8), -(-width // 8), 3, seed=seed), np.ones([8, 8, 1], np.uint8))
    return np.clip(coarse[:height, :width] + noise(height, width, 3, seed=seed + 1) / 8.0, 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    "options",
    [{"subsampling": s, "progressive": p} for s in (0, 1, 2) for p in (False, True)]
    + [{"exif": v} for v in range(1, 9)],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_decode_and_crop_equals_a_crop_of_the_decoded_image(mode, options):
    if "exif" in options:
        exif = Image.Exif()
        exif[0x0112] = options["exif"]
        options = {"exif": exif}
    encoded = encode(Image.fromarray(photograph(75, 101)).convert(mode), "jpeg", quality=85, **options)
    whole = decode(encoded).numpy()
    assert can_crop(encoded).numpy()
    sizes = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        top, left = rng.integers(0, whole.shape[0]), rng.integers(0, whole.shape[1])
        height, width = rng.integers(1, whole.shape[0] - top + 1), rng.integers(1, whole.shape[1] - left + 1)
        box = tf.constant([top, left, height, width], tf.int32)
        crop = decode_and_crop(encoded, lambda size, box=box: sizes.append(size.numpy().tolist()) or box)
        np.testing.assert_array_equal(crop, whole[top : top + height, left : left + width])
    assert sizes == [list(whole.shape[:2])] * 20


@pytest.mark.parametrize("file_format", ["jpeg", "png"])
def test_decode_and_distort_equals_distorting_the_decoded_image(file_format):
    preprocessing = Preprocessing(32, augmentation="inception")
    encoded = encode(Image.fromarray(photograph(90, 120)), file_format)
    together = tf.function(preprocessing.decode_and_distort)
    for seed in range(10):
        expected = tf.function(preprocessing.distort)(decode(encoded), tf.constant([seed, 1]))
        np.testing.assert_array_equal(together(tf.constant(encoded), tf.constant([seed, 1])), expected)


def test_torn_foreign_and_cmyk_files_are_decoded_whole():
    """A torn file has to fail as it does when all of it is decoded, wherever the crop lies."""
    image = Image.fromarray(photograph(90, 120))
    jpeg = encode(image, "jpeg")
    for encoded in (jpeg[:-100], encode(image), encode(image.convert("CMYK"), "jpeg"), b"", b"\xff"):
        assert not can_crop(tf.constant(encoded)).numpy()
    preprocessing = Preprocessing(32, augmentation="inception")
    for seed in range(5):
        with pytest.raises(tf.errors.InvalidArgumentError):
            preprocessing.decode_and_distort(tf.constant(jpeg[:-100]), tf.constant([seed, 1]))
