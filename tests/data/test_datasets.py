import hashlib
import logging
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from scarlet_tf.base.errors import InputError
from scarlet_tf.data import facts
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.datasets import load_dataset
from scarlet_tf.data.folder_files import list_files
from scarlet_tf.data.looking import look_at
from scarlet_tf.data.preprocessing import Preprocessing


def write_image(path, level=100, size=6):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tf.io.encode_png(np.full([size, size, 3], level, np.uint8)).numpy())


def make_folder(root, classes=("ant", "bee"), images=10):
    for label, name in enumerate(classes):
        for i in range(images):
            write_image(root / name / f"{i}.png", level=40 * label + i)
    return root


def folder(root, **options):
    return load_dataset(DataConfig("folder", directory=str(root), image_size=6, **options))


def image_hashes(split):
    return {hashlib.sha256(image.numpy()).digest() for images, _ in split.batches(64) for image in images}


def test_digits_split_is_stratified_and_fixed():
    data, again = load_dataset(DataConfig()), load_dataset(DataConfig())
    sizes = [split.num_examples for split in (data.train, data.validation, data.test)]
    assert sizes == [1294, 144, 359] and data.num_classes == 10 and data.class_names[3] == "3"
    assert np.bincount(data.test.labels).min() >= 34
    assert data.fingerprint == again.fingerprint
    np.testing.assert_array_equal(data.train.labels, again.train.labels)
    assert not np.array_equal(data.train.labels, load_dataset(DataConfig(seed=1)).train.labels)
    images, labels = next(iter(data.train.batches(8, training=True)))
    assert images.shape == (8, 32, 32, 3) and labels.dtype == tf.int32 and np.abs(images).max() <= 1


def test_digits_splits_share_no_image():
    data = load_dataset(DataConfig(image_size=8))
    parts = [image_hashes(split) for split in (data.train, data.validation, data.test)]
    assert sum(map(len, parts)) == len(set.union(*parts))


def test_sizes_can_be_limited_and_preprocessing_replaced():
    config = DataConfig(validation_examples=100, max_train_examples=200, max_test_examples=50)
    data = load_dataset(config, Preprocessing(16))
    assert [split.num_examples for split in (data.train, data.validation, data.test)] == [200, 100, 50]
    assert next(iter(data.test.batches(4)))[0].shape == (4, 16, 16, 3)


def test_plain_folder_is_split_and_identified_by_content(tmp_path):
    data = folder(make_folder(tmp_path / "a"))
    assert data.class_names == ("ant", "bee") and data.name == "a"
    assert [split.num_examples for split in (data.train, data.validation, data.test)] == [14, 2, 4]
    assert folder(make_folder(tmp_path / "b")).fingerprint == data.fingerprint
    streamed = folder(tmp_path / "a", memory_bytes=0, check_images=False)
    assert streamed.fingerprint == data.fingerprint
    for (images, labels), (other, other_labels) in zip(data.train.batches(4), streamed.train.batches(4), strict=True):
        np.testing.assert_array_equal(images, other)
        np.testing.assert_array_equal(labels, other_labels)
    write_image(tmp_path / "b" / "bee" / "0.png", level=99)
    assert folder(tmp_path / "b").fingerprint != data.fingerprint


def test_folder_with_train_val_and_test(tmp_path):
    for name, images in (("train", 6), ("val", 3), ("test", 2)):
        make_folder(tmp_path / name, images=images)
    data = folder(tmp_path)
    assert [split.num_examples for split in (data.train, data.validation, data.test)] == [12, 6, 4]


def test_a_lone_validation_folder_is_the_test_split(tmp_path):
    make_folder(tmp_path / "train", images=20)
    make_folder(tmp_path / "validation", images=3)
    data = folder(tmp_path)
    assert [split.num_examples for split in (data.train, data.validation, data.test)] == [36, 4, 6]


def test_undecodable_images_are_skipped_and_named(tmp_path, caplog):
    root = make_folder(tmp_path, images=120)
    (root / "ant" / "empty.jpg").touch()
    write_image(root / "bee" / "torn.png", size=64)
    torn = (root / "bee" / "torn.png").read_bytes()
    (root / "bee" / "torn.png").write_bytes(torn[: len(torn) // 2])
    (root / "bee" / "notes.txt").write_text("no image")
    with caplog.at_level(logging.WARNING, "scarlet_tf"):
        data = folder(root)
    assert [name.rsplit("/", 1)[1] for name in data.skipped] == ["empty.jpg", "torn.png"]
    assert (
        "skipped 2 images that cannot be decoded, 1 empty, 1 damaged: ant/empty.jpg (empty), bee/torn.png"
        in caplog.text
    )
    assert "left out 1 empty, 1 no image (named in run.log, and with --verbose)" in caplog.text
    assert sum(split.num_examples for split in (data.train, data.validation, data.test)) == 240


def test_many_undecodable_images_are_refused(tmp_path):
    root = make_folder(tmp_path, images=20)
    (root / "ant" / "empty.jpg").touch()
    for check in (True, False):
        with pytest.raises(InputError, match=r"1 of 41 images cannot be decoded.*ant/empty\.jpg"):
            folder(root, check_images=check)


def test_bad_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.directory: .*nowhere', which is none; looked for .*nowhere"):
        folder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"at least two class folders, got \['ant'\]"):
        folder(make_folder(tmp_path / "one", classes=("ant",)))
    root = make_folder(tmp_path / "two")
    (root / "cow").mkdir()
    with pytest.raises(InputError, match="cow: expected images in this class folder"):
        folder(root)
    make_folder(tmp_path / "three" / "train")
    make_folder(tmp_path / "three" / "test", classes=("ant", "bee", "cow"))
    with pytest.raises(InputError, match=r"expected the 2 class folders .* got 3; missing \[\], unknown \['cow'\]"):
        folder(tmp_path / "three")


def test_classes_too_small_to_split_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"data\.test_fraction: .*every one of 2 classes"):
        folder(make_folder(tmp_path, images=3))


def test_a_relative_folder_is_found_under_the_data_directory(tmp_path, monkeypatch):
    make_folder(tmp_path / "insects")
    monkeypatch.setenv("SCARLET_DATA_DIR", str(tmp_path))
    assert folder("insects").num_classes == 2


def test_webp_images_are_read_from_folders(tmp_path):
    make_folder(tmp_path)
    for name, mode in (("a", "RGB"), ("b", "RGBA")):
        Image.fromarray(np.full([6, 6, len(mode)], 90, np.uint8), mode).save(
            tmp_path / "ant" / f"{name}.webp", lossless=True
        )
    data = folder(tmp_path)
    assert sum(split.num_examples for split in (data.train, data.validation, data.test)) == 22


@pytest.mark.parametrize("check", [True, False])
def test_equal_files_are_told(tmp_path, caplog, check):
    for split in ("train", "test"):
        make_folder(tmp_path / split, images=5 if split == "train" else 0)
    write_image(tmp_path / "test" / "ant" / "5.png", level=200)
    write_image(tmp_path / "test" / "bee" / "0.png", level=41)  # as train/bee/1.png
    write_image(tmp_path / "train" / "ant" / "copy.png", level=2)  # as train/ant/2.png
    write_image(tmp_path / "train" / "bee" / "copy.png", level=3)  # as train/ant/3.png
    folder(tmp_path, check_images=check, validation_fraction=0.3)
    name = tmp_path.name
    expected = [
        f"{name}: 1 images are there more than once in one class, which hold-outs may put on both sides:"
        " train/ant/2.png = train/ant/copy.png",
        f"{name}: 1 images are there more than once in two classes: train/ant/3.png = train/bee/copy.png",
        f"{name}: 1 images are there more than once in test and train images: train/bee/1.png = test/bee/0.png",
    ]
    assert [record.message for record in caplog.records] == expected
    assert look_at(DataConfig("folder", directory=str(tmp_path))).notes == tuple(
        expected
    )  # as init and doctor tell them


def test_a_look_holds_no_decoded_images(tmp_path):
    """Only sizes stay: 24 noisy images of 12 MB each would take 290 MB."""
    for name in ("ant", "bee"):
        write_image(tmp_path / name / "0.png", size=2000)
        for i in range(1, 12):
            (tmp_path / name / f"{i}.png").write_bytes((tmp_path / name / "0.png").read_bytes())
    script = (
        "import resource\n"
        "from scarlet_tf.data.data_config import DataConfig\n"
        "from scarlet_tf.data.looking import look_at\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024\n"
        f"config = DataConfig('folder', directory={str(tmp_path)!r})\n"
        "look_at(config, 1)\n"
        "before = peak()\n"
        "assert len(look_at(config).shapes) == 24\n"
        "print(peak() - before)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 60  # one at a time, 12 MB and as much for decoding, and what the allocator keeps


def test_init_imports_no_tensorflow(tmp_path):
    """Which takes 750 MiB; nor does what `scarlet doctor --config` does with the images."""
    make_folder(tmp_path / "photos")
    script = (
        "import sys\n"
        "from scarlet_tf import cli\n"
        "from scarlet_tf.cli.doctor_checks import check_config\n"
        "assert cli.main(['init', 'photos', '--budget', '1M', '--quiet']) == 0\n"
        "assert len(list(check_config('photos.yaml'))) == 3\n"
        "print('tensorflow' in sys.modules or 'keras' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1:] == ["False"], done.stderr


def test_only_files_that_may_be_equal_are_read(tmp_path, monkeypatch):
    """Of equal size, then of equal beginnings; those that are equal up to their last bytes are told apart by all of them."""
    beginning = b"\xff\xd8\xff" + b"x" * 2**17
    contents = {"ant/0": b"a", "ant/1": b"b", "ant/2": b"b", "bee/0": b"b", "bee/1": b"longer"}
    for name, end in contents.items():
        path = tmp_path / f"{name}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(beginning + end)
    (tmp_path / "bee" / "2.png").write_bytes(b"\x89PNG\r\n\x1a\n, alone of its size")
    opened = []

    def noted(path, mode):
        opened.append(path.name)
        return path.open(mode)

    monkeypatch.setattr(facts, "open", noted, raising=False)
    listed = list_files(str(tmp_path))
    digests = facts.digests_of_alike(listed)
    assert [path.relative_to(tmp_path).as_posix() for path in digests] == [f"{name}.jpg" for name in list(contents)[:4]]
    assert sorted(opened) == sorted(["0.jpg", "1.jpg", "2.jpg", "0.jpg"] * 2)
    assert list(facts.describe_copies(listed, digests)) == [
        f"{tmp_path.name}: 1 images are there more than once in two classes: ant/1.jpg = ant/2.jpg = bee/0.jpg"
    ]


def test_a_look_reads_sizes_from_headers_and_finds_torn_files(tmp_path):
    """Of every format, of 225 megapixels, which Pillow refuses by itself, and of files that are cut in half."""
    for name, size in (("large", (15_000, 15_000)), ("wide", (31, 20)), ("high", (20, 47))):
        Image.new("1", size).save(tmp_path / f"{name}.png")
    rng = np.random.default_rng(0)
    noise = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
    for form in ("jpeg", "png", "gif", "bmp", "webp"):
        for name in ("ant", "bee"):
            (tmp_path / "photos" / name).mkdir(parents=True, exist_ok=True)
            noise.save(tmp_path / "photos" / name / f"1.{form}", form)
        whole = (tmp_path / "photos" / "bee" / f"1.{form}").read_bytes()
        (tmp_path / "photos" / "bee" / f"torn.{form}").write_bytes(whole[: len(whole) // 2])
    for path in tmp_path.glob("*.png"):
        path.rename(tmp_path / "photos" / "ant" / path.name)
    facts = look_at(DataConfig("folder", directory=str(tmp_path / "photos")))
    assert sorted(facts.shapes) == sorted([(40, 60)] * 10 + [(15_000, 15_000), (20, 31), (47, 20)])
    torn = [
        f"{tmp_path / 'photos' / 'bee' / f'torn.{form}'} (damaged)" for form in ("bmp", "gif", "jpeg", "png", "webp")
    ]
    assert sorted(facts.unreadable) == torn
    assert 0 < facts.decode_seconds < 1 and facts.side == 40
