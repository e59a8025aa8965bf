"""Image folders as users have them: what is a split, a class, an image, and what is left out and told."""

import io
import os
import pathlib
import subprocess
import sys
import tempfile
import unicodedata

import numpy as np
import pytest
from PIL import Image

from scarlet_tf.base.errors import InputError
from scarlet_tf.data import image_files
from scarlet_tf.data.folder_files import list_files


def encoded(kind="PNG", **options):
    file = io.BytesIO()
    Image.fromarray(np.arange(75, dtype=np.uint8).reshape(5, 5, 3)).save(file, kind, **options)
    return file.getvalue()


PNG = encoded()


def write(path, content=PNG):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def make(root, classes=("ant", "bee"), images=2):
    for name in classes:
        for i in range(images):
            write(root / name / f"{i}.png")
    return root


def sizes(root):
    return {name: len(files.paths) for name, files in list_files(str(root)).splits.items()}


def reasons(root):
    return {reason: sorted(path.name for path in paths) for reason, paths in list_files(str(root)).left_out.items()}


# -- splits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [
        ("train", "validation", "test"),
        ("Training", "Valid", "Testing"),
        ("TRAIN", "VAL", "EVAL"),
        ("training", "dev", "evaluation"),
        ("seg_train", "seg-val", "seg.test"),
        ("seg_train/seg_train", "seg_dev/val", "seg_test/seg_test"),
        ("a_train/train/TRAINING", "valid", "test"),
    ],
)
def test_splits_are_known_by_their_usual_names(tmp_path, train, validation, test):
    for count, name in ((4, train), (3, validation), (2, test)):
        make(tmp_path / name, images=count)
    assert sizes(tmp_path) == {"train": 8, "validation": 6, "test": 4}
    assert list_files(str(tmp_path)).class_names == ("ant", "bee")


def test_a_prefix_alone_makes_no_split_where_other_folders_have_classes_too(tmp_path):
    make(tmp_path / "seg_train")
    write(tmp_path / "seg_pred" / "1.png")
    found = list_files(str(tmp_path))
    assert found.class_names == ("ant", "bee") and found.unused == ("seg_pred/ is not used: it holds no class folders",)
    make(tmp_path / "toys" / "toy_train", ("2019",))
    make(tmp_path / "toys" / "toy_car", ("2019",))
    assert list_files(str(tmp_path / "toys")).class_names == ("toy_car", "toy_train")


def test_folders_beside_splits_are_named(tmp_path):
    make(tmp_path / "train")
    make(tmp_path / "holdout")
    write(tmp_path / "seg_test" / "1.png")
    write(tmp_path / "1.png")
    found = list_files(str(tmp_path))
    assert list(found.splits) == ["train"]
    assert found.notes == (
        "holdout/ is not used: its name is not that of a split",
        "seg_test/ is not used: it holds no class folders",
        f"{tmp_path.name}: left out 1 beside the class folders (named in run.log, and with --verbose)",
    )


@pytest.mark.parametrize("others", [(), ("ant", "bee")])
def test_splits_without_training_images_are_refused(tmp_path, others):
    make(tmp_path / "test")
    make(tmp_path / "Val")
    make(tmp_path, others)
    with pytest.raises(InputError, match=r"expected a folder train/ beside Val/ and test/, got none; put"):
        list_files(str(tmp_path))


def test_two_folders_of_one_split_are_refused(tmp_path):
    for name in ("train", "test", "evaluation"):
        make(tmp_path / name)
    with pytest.raises(InputError, match="one folder of test images, got both evaluation/ and test/"):
        list_files(str(tmp_path))


def test_a_class_may_be_called_train_or_have_a_name_that_ends_so(tmp_path):
    make(tmp_path, ("bus", "train", "crash_test"))
    assert list_files(str(tmp_path)).class_names == ("bus", "crash_test", "train")


def test_splits_that_hold_images_and_no_classes_are_refused(tmp_path):
    make(tmp_path, ("train", "test"))
    with pytest.raises(InputError, match=r"expected class folders in test/ and train/, which are named as splits"):
        list_files(str(tmp_path))


@pytest.mark.parametrize("names", [("day", "night"), ("bottle", "cable")])
def test_a_folder_one_level_too_high_is_refused(tmp_path, names):
    below = ("ant", "bee") if names[0] == "day" else ("good", "test", "train")
    for name in names:
        make(tmp_path / name, below)
    with pytest.raises(InputError, match=rf"such as {names[0]}, all hold the folders {', '.join(below)}: probably"):
        list_files(str(tmp_path))
    make(tmp_path / "train" / "ant", ("images",))
    make(tmp_path / "train" / "bee", ("images",))
    assert sizes(tmp_path) == {"train": 4}  # one folder in each, as in Tiny ImageNet, is no second level


def test_a_folder_around_the_dataset_is_named(tmp_path):
    make(tmp_path / "archive")
    with pytest.raises(InputError, match=rf"at least two class folders, .*; did you mean {tmp_path}/archive\?"):
        list_files(str(tmp_path))


# -- files -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.jfif", "JPEG"), ("a.JPE", "JPEG"), ("a", "PNG"), ("a.jpg", "WEBP"), ("a.dat", "BMP"), ("a.PNG", "GIF")],
)
def test_images_are_known_by_their_content(tmp_path, name, kind):
    make(tmp_path)
    write(tmp_path / "bee" / name, encoded(kind))
    found = list_files(str(tmp_path))
    assert found.splits["train"].paths[-1].name == name and len(found.splits["train"].paths) == 5
    assert found.notes == () and found.splits["train"].problems == {}


LOST = {
    "a.png": (b"", "empty"),
    "b.jpg": (b"no image", "no image"),
    "c.tif": (b"II*\x00" + bytes(40), "TIFF"),
    "d": (b"\x00\x00\x00\x18ftypheic", "HEIC"),
    "e.avif": (b"\x00\x00\x00\x18ftypavif", "AVIF"),
    "f.webp": (b"RIFF\x00\x01\x00\x00WEBPVP8X\x0a\x00\x00\x00\x02" + bytes(40), "animated WebP"),
}


def test_images_that_cannot_be_read_are_lost_images_with_the_reason(tmp_path):
    make(tmp_path)
    for name, (content, _) in LOST.items():
        write(tmp_path / "bee" / name, content)
    (tmp_path / "bee" / "g.png").symlink_to(tmp_path / "gone.png")
    expected = {name: reason for name, (_, reason) in LOST.items()} | {"g.png": "broken link"}
    files = list_files(str(tmp_path)).splits["train"]
    assert {path.name: reason for path, reason in files.problems.items()} == expected
    assert len(files.paths) == 4 + len(expected)


def test_other_files_are_left_out_and_counted_by_reason(tmp_path):
    make(tmp_path)
    for name in ("notes.txt", "BM.txt", "LICENSE"):
        write(tmp_path / "ant" / name, b"BMW and other texts")
    write(tmp_path / "ant" / "EMPTY", b"")
    for name in (".DS_Store", "._0.png", "Thumbs.db", "deep/.ipynb_checkpoints/0.png", "deep/@eaDir/0.png"):
        write(tmp_path / "ant" / name)
    os.mkfifo(tmp_path / "ant" / "pipe.png")
    found = list_files(str(tmp_path))
    assert len(found.splits["train"].paths) == 4 and found.splits["train"].problems == {}
    assert found.notes == (
        f"{tmp_path.name}: left out 5 hidden or system, 3 no image, 1 empty, 1 no regular file"
        " (named in run.log, and with --verbose)",
    )


@pytest.mark.parametrize(
    "name", [".thumbnails", ".ipynb_checkpoints", "@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information"]
)
def test_system_folders_are_no_classes_and_no_splits(tmp_path, name):
    make(tmp_path / "train")
    make(tmp_path / "train" / name)
    make(tmp_path / name)
    assert list_files(str(tmp_path)).class_names == ("ant", "bee")
    assert reasons(tmp_path) == {"hidden or system": [name, name]}


def test_linked_folders_are_read_and_cycles_cut(tmp_path):
    make(tmp_path / "photos")
    make(tmp_path / "elsewhere", ("more",))
    (tmp_path / "photos" / "ant" / "link").symlink_to(tmp_path / "elsewhere" / "more")
    (tmp_path / "photos" / "ant" / "loop").symlink_to(tmp_path / "photos" / "ant")
    (tmp_path / "photos" / "ant" / "self").symlink_to("self")
    assert sizes(tmp_path / "photos") == {"train": 7}
    assert reasons(tmp_path / "photos") == {"link to a folder read before": ["loop"], "broken link": ["self"]}


def test_missing_permission_is_told(tmp_path, monkeypatch):
    """The tests may run as root, whom no permission stops: the system's refusal is made here."""
    make(tmp_path)
    plain_open, plain_scan = open, os.scandir

    def refuse(path, *arguments):
        if str(path).endswith("0.png"):
            raise PermissionError(13, "Permission denied")
        return plain_open(path, *arguments)

    monkeypatch.setattr(image_files, "open", refuse, raising=False)
    assert set(list_files(str(tmp_path)).splits["train"].problems.values()) == {"no permission to read"}

    def scan(path):
        if str(path).endswith("bee"):
            raise PermissionError(13, "Permission denied")
        return plain_scan(path)

    monkeypatch.setattr(image_files.os, "scandir", scan)
    with pytest.raises(InputError, match=r"bee: the folder could not be read: permission denied; allow it"):
        list_files(str(tmp_path))


@pytest.mark.skipif(not hasattr(os, "setuid") or os.getuid() != 0, reason="needs root, which can become nobody")
@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_that_another_user_may_not_read_is_told(tmp_path, mode):
    """As the system refuses it: a child process that is no longer root."""
    make(tmp_path / "bee", ("more",))
    make(tmp_path)
    above = pathlib.Path(tempfile.gettempdir())
    for folder in (tmp_path, *(path for path in tmp_path.parents if above in path.parents)):
        folder.chmod(0o755)
    (tmp_path / "bee").chmod(mode)
    script = (
        "import os, sys\n"
        "from scarlet_tf.data.folder_files import list_files\n"
        "os.setuid(65534)\n"
        "list_files(sys.argv[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert (
        last.startswith(f"scarlet_tf.base.errors.InputError: {tmp_path}/bee") and "permission denied; allow it" in last
    )


# -- classes ---------------------------------------------------------------------------------------------------


def test_run_folders_are_no_classes(tmp_path):
    make(tmp_path)
    for name in ("runs/photos", "runs/deep/trial", "old"):
        for file in ("config.yaml", "run.log"):
            write(tmp_path / name / file, b"text")
        write(tmp_path / name / "export" / "1.png")
    found = list_files(str(tmp_path))
    assert found.class_names == ("ant", "bee")
    assert found.notes == ("old/ is not used: it belongs to a run", "runs/ is not used: it belongs to a run")
    write(tmp_path / "ant" / "config.yaml", b"one alone is no mark of a run")
    assert list_files(str(tmp_path)).class_names == ("ant", "bee")


def test_names_compare_in_one_unicode_form(tmp_path):
    composed, decomposed = (unicodedata.normalize(form, "bär") for form in ("NFC", "NFD"))
    make(tmp_path / "train", ("ant", decomposed))
    make(tmp_path / "test", ("ant", composed))
    assert list_files(str(tmp_path)).class_names == ("ant", composed)
    make(tmp_path / "train", (composed,))
    with pytest.raises(InputError, match=r"two class folders have the name bär.*'ba\\u0308r' and 'b\\xe4r'"):
        list_files(str(tmp_path))


@pytest.mark.parametrize("name", ["a\nb", "a\x1bb", "a\u2028b", os.fsdecode(b"a\xff")])
def test_names_that_are_no_line_of_text_are_refused(tmp_path, name):
    make(tmp_path, ("ant", name))
    with pytest.raises(InputError, match="expected class names without line breaks"):
        list_files(str(tmp_path))
