"""EXIF orientation: training, serving_bytes' decoder, classify.py and the browser's page against Pillow, on every layout."""

import base64
import io
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from scarlet_tf.data.decoding import decode, decode_and_crop, orientation

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "export"))
import classify

SIZE = (7, 5)
PIXELS = np.random.default_rng(0).integers(0, 256, (SIZE[1], SIZE[0], 3), np.uint8)
decode_in_graph = tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)])
orientation_in_graph = tf.function(orientation, input_signature=[tf.TensorSpec([], tf.string)])


def encode(form, **options):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, form, **options)
    return buffer.getvalue()


JPEG, PNG = encode("jpeg", quality=95), encode("png")
WEBP = encode("webp", lossless=True)


def tiff(value, order="<", kind=3, count=1, before=(0x010F,), thumbnail=None, offset=8, padding=0):
    """An EXIF block: entries `before` the orientation, then a maker note's and, with `thumbnail`, a second directory."""
    number = {3: "HH", 4: "I"}.get(kind, "I")
    data = struct.pack(order + number, *([value or 0, 0] if number == "HH" else [value]))
    entries = [struct.pack(order + "HHI4s", tag, 2, 3, b"ab\0\0") for tag in before]
    entries += [struct.pack(order + "HHI", 0x0112, kind, count) + data] if value is not None else []
    note = struct.pack(order + "HHII", 0x0112, 3, 1, 3)  # what a maker note may hold
    end = offset + 2 + 12 * len(entries) + 4
    following = end + len(note) if thumbnail else 0
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", offset) + bytes(offset - 8)
    block += struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", following) + note
    if thumbnail:
        block += struct.pack(order + "HHHIHHI", 1, 0x0112, 3, 1, thumbnail, 0, 0)
    return block + bytes(padding)


def segment(content, marker=0xE1):
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def jpeg(*parts):
    return JPEG[:2] + b"".join(parts) + JPEG[2:]


def late_jpeg(*parts):
    """The parts stand immediately before the first scan."""
    scan = JPEG.index(b"\xff\xda")
    return JPEG[:scan] + b"".join(parts) + JPEG[scan:]


def png(exif, after_pixels=False, name=b"eXIf"):
    chunk = struct.pack(">I", len(exif)) + name + exif + struct.pack(">I", zlib.crc32(name + exif))
    at = len(PNG) - 12 if after_pixels else 33  # the lengths of IEND, and of the signature with IHDR
    return PNG[:at] + chunk + PNG[at:]


def webp(exif, flags=8):
    size = struct.pack("<I", SIZE[0] - 1)[:3] + struct.pack("<I", SIZE[1] - 1)[:3]
    parts = b"VP8X" + struct.pack("<I", 10) + bytes([flags, 0, 0, 0]) + size + WEBP[12:]
    parts += b"EXIF" + struct.pack("<I", len(exif)) + exif + bytes(len(exif) % 2)
    return b"RIFF" + struct.pack("<I", 4 + len(parts)) + b"WEBP" + parts


def app1(exif):
    return segment(b"Exif\0\0" + exif)


XMP = segment(b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta/>" + b" " * 60000)
ICC = [segment(b"ICC_PROFILE\0" + bytes([i, 3]) + bytes(65000), 0xE2) for i in (1, 2, 3)]
COMMENTS = [segment(b"Exif\0\0II*\0" + b"c" * 65000, 0xFE)] * 2
LAYOUTS = {
    "first": lambda exif: jpeg(app1(exif)),
    "after JFIF": lambda exif: JPEG[:20] + app1(exif) + JPEG[20:],
    "after ICC": lambda exif: jpeg(*ICC, app1(exif)),
    "after long comments": lambda exif: jpeg(*COMMENTS, app1(exif)),
    "after XMP": lambda exif: jpeg(XMP, XMP, app1(exif), XMP),
    "before the scan": lambda exif: late_jpeg(app1(exif)),
    "after fill bytes": lambda exif: jpeg(b"\xff" * 5, app1(exif)),
    "after an empty segment": lambda exif: jpeg(segment(b""), segment(b"", 0xFE), app1(exif)),
    "PNG": png,
    "PNG after the pixels": lambda exif: png(exif, after_pixels=True),
    "PNG with a prefix": lambda exif: png(b"Exif\0\0" + exif),
    "WebP": webp,
    "WebP with a prefix": lambda exif: webp(b"Exif\0\0" + exif),
}
BLOCKS = {
    "little": {},
    "big": {"order": ">"},
    "LONG, little": {"kind": 4},
    "LONG, big": {"kind": 4, "order": ">"},
    "alone": {"before": ()},
    "late": {"before": range(0x010D, 0x0111), "offset": 4000, "padding": 30000},
    "with a thumbnail": {"thumbnail": 3},
    "with a thumbnail, big": {"thumbnail": 8, "order": ">"},
}


def all_ways(content):
    """(Pillow's own turning, training's pixels, classify.py's)."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF
        with Image.open(io.BytesIO(content)) as image:
            by_pillow = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        with Image.open(io.BytesIO(content)) as image:
            by_classify = classify.rgb(image)
    return by_pillow, decode_in_graph(content).numpy(), by_classify


def stored(content):
    with Image.open(io.BytesIO(content)) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_is_turned_as_pillow_does(layout):
    every = layout in ("first", "PNG", "WebP")
    for value in range(1, 9):
        for block in BLOCKS if every else ("little", "LONG, big"):
            content = LAYOUTS[layout](tiff(value, **BLOCKS[block]))
            expected, trained, classified = all_ways(content)
            np.testing.assert_array_equal(trained, expected, err_msg=block)
            np.testing.assert_array_equal(classified, expected, err_msg=block)


def test_a_crop_is_turned_wherever_exif_stands():
    box = tf.constant([1, 0, 3, 2], tf.int32)
    crop = tf.function(lambda encoded: decode_and_crop(encoded, lambda _: box))
    for value in range(1, 9):
        content = tf.constant(LAYOUTS["after ICC"](tiff(value)))
        np.testing.assert_array_equal(crop(content), decode_in_graph(content)[1:4, :2])


GOOD = tiff(6)
NOT_TURNED = {
    "value 0": tiff(0),
    "value 9": tiff(9),
    "LONG 65542": tiff(65542, kind=4),
    "LONG 65542, big": tiff(65542, kind=4, order=">"),
    "two values": tiff(6, count=2),
    "a type of text": tiff(6, kind=2),
    "thumbnail alone": tiff(None, thumbnail=6),
    "no directory": GOOD[:8],
    "cut in the header": GOOD[:6],
    "cut in the entry": GOOD[: 8 + 2 + 12 + 11],
    "empty": b"",
    "no TIFF": b"XX*\0" + GOOD[4:],
    "a mixture of byte orders": b"MM\0*" + GOOD[4:],
    "directory beyond the end": GOOD[:4] + struct.pack("<I", 10**6) + GOOD[8:],
    "directory far beyond": GOOD[:4] + b"\xff\xff\xff\xff" + GOOD[8:],
    "directory at 2 GB": GOOD[:4] + b"\xff\xff\xff\x7f" + GOOD[8:],
}


@pytest.mark.parametrize("kind", NOT_TURNED)
def test_damaged_exif_and_other_directories_do_not_turn(kind):
    for layout in LAYOUTS.values():
        content = layout(NOT_TURNED[kind])
        assert orientation_in_graph(content).numpy() == 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            np.testing.assert_array_equal(classify.rgb(Image.open(io.BytesIO(content))), stored(content))
        np.testing.assert_array_equal(decode_in_graph(content), stored(content))


def test_what_looks_like_exif_elsewhere_does_not_turn():
    for content in (
        jpeg(segment(b"Exif\0\0" + GOOD, 0xE2)),  # of another application
        jpeg(segment(b"\0" * 20 + app1(GOOD), 0xFE)),  # within a comment
        jpeg(segment(b"Photoshop 3.0\0" + jpeg(app1(GOOD)), 0xED)),  # a thumbnail's own
        JPEG[:-2] + app1(GOOD) + JPEG[-2:],  # after the first scan
        JPEG + jpeg(app1(GOOD)),  # a second picture
        png(GOOD, name=b"exIf"),
        PNG + png(GOOD)[33:],  # after the end
        webp(GOOD, flags=0),
    ):
        assert orientation_in_graph(content).numpy() == 1
        np.testing.assert_array_equal(classify.rgb(Image.open(io.BytesIO(content))), stored(content))


def test_the_first_of_two_blocks_and_of_two_entries_counts():
    twice = bytearray(tiff(8, before=(0x0112,)))
    twice[10:22] = struct.pack("<HHIHH", 0x0112, 3, 1, 6, 0)
    for content in (jpeg(app1(GOOD), app1(tiff(3))), jpeg(app1(bytes(twice)))):
        assert orientation_in_graph(content).numpy() == 6
        np.testing.assert_array_equal(classify.rgb(Image.open(io.BytesIO(content))), decode_in_graph(content))


@pytest.mark.parametrize("layout", ["after JFIF", "PNG", "PNG after the pixels", "WebP"])
def test_torn_and_altered_files_have_the_orientation_that_the_reader_in_python_finds(layout):
    """Nothing may be read beyond the end; a block with random faults means the same to both readers."""
    rng, whole = np.random.default_rng(0), LAYOUTS[layout](tiff(6, thumbnail=3))
    for length in rng.integers(0, len(whole), 40):
        assert 1 <= orientation_in_graph(whole[:length]).numpy() <= 8
    values = set()
    for order in "<>" * 40:
        block = bytearray(tiff(int(rng.integers(1, 9)), order))
        for position in rng.integers(0, 34, rng.integers(1, 3)):
            block[position] = rng.choice([0, 1, 2, 3, 4, 8, 0x12, 0xFF])
        value = classify.orientation(bytes(block))
        assert orientation_in_graph(LAYOUTS[layout](bytes(block))).numpy() == value
        values.add(value)
    assert len(values) > 4


def test_sizes_that_lie_end_the_search():
    for size in (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\x00\xff\xff\xff"):
        content = png(GOOD)
        assert orientation_in_graph(content[:33] + size + b"eXIg" + content[33:]).numpy() == 1
        swapped = webp(GOOD).replace(b"VP8L", b"abcd" + size[::-1] + b"VP8L")
        assert orientation_in_graph(swapped).numpy() == 1
    assert (
        orientation_in_graph(jpeg(b"\0" * 10**5, app1(GOOD))).numpy() == 1
    )  # bounded, so as not to keep a server busy


# -- the browser's page ----------------------------------------------------------------------------------------

PAGE = pathlib.Path(__file__).parents[2] / "export" / "browser"
# The whole image, and a box of two columns and three rows, as `readRows` in image.js reads it.
_TURN = """
import {readFileSync} from "node:fs";
import {readOrientation, storedBox, turn} from "./src/orientation.js";
const asBytes = (text) => new Uint8Array(Buffer.from(text, "base64"));
const asText = (bytes) => Buffer.from(bytes).toString("base64");
console.log(JSON.stringify(JSON.parse(readFileSync(0, "utf8")).map(({content, pixels, width, height}) => {
  const {orientation, bytes} = readOrientation(asBytes(content));
  const stored = asBytes(pixels);
  const readBox = (box) => {
    const {left, top, width: columns, height: rows} = storedBox(orientation, {width, height}, box);
    const cut = Array.from({length: rows}, (_, row) => {
      const start = 4 * ((top + row) * width + left);
      return [...stored.subarray(start, start + 4 * columns)];
    });
    return asText(turn(Uint8ClampedArray.from(cut.flat()), columns, orientation));
  };
  const [wide, high] = orientation >= 5 ? [height, width] : [width, height];
  const whole = readBox({left: 0, top: 0, width: wide, height: high});
  return {orientation, bytes: asText(bytes), whole, box: readBox({left: 3, top: 1, width: 2, height: 3})};
})));
"""


def by_page(contents):
    """(orientation, the bytes that the browser decodes, upright pixels, those of a box) of each file, by the page's modules."""
    requests = []
    for content in contents:
        with Image.open(io.BytesIO(content)) as image:
            pixels = image.convert("RGBA").tobytes()
        texts = {"content": content, "pixels": pixels}
        texts = {key: base64.b64encode(value).decode() for key, value in texts.items()}
        requests.append({**texts, "width": SIZE[0], "height": SIZE[1]})
    command = ["node", "--input-type=module", "-e", _TURN]
    done = subprocess.run(command, cwd=PAGE, input=json.dumps(requests), capture_output=True, text=True, check=True)
    return [
        (row["orientation"], *(base64.b64decode(row[key]) for key in ("bytes", "whole", "box")))
        for row in json.loads(done.stdout)
    ]


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_browsers_page_turns_what_pillow_turns_and_leaves_nothing_to_the_browser():
    contents = [layout(tiff(v, **BLOCKS[b])) for layout in LAYOUTS.values() for b in BLOCKS for v in range(1, 9)]
    contents += [layout(NOT_TURNED[kind]) for kind in NOT_TURNED for layout in LAYOUTS.values()]
    contents += [jpeg(app1(GOOD), XMP, app1(tiff(3))), jpeg(segment(b"Exif\0\0" + GOOD, 0xE2)), PNG, WEBP]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of damaged EXIF
        found = by_page(contents)
        for content, (value, bare, whole, box) in zip(contents, found, strict=True):
            assert value == orientation_in_graph(content).numpy()
            expected = decode_in_graph(content).numpy()  # which the tests above hold against Pillow's
            pixels = np.frombuffer(whole, np.uint8).reshape(*expected.shape[:2], 4)
            np.testing.assert_array_equal(pixels[..., :3], expected)
            np.testing.assert_array_equal(np.frombuffer(box, np.uint8).reshape(3, 2, 4), pixels[1:4, 3:5])
            with Image.open(io.BytesIO(bare)) as image:
                assert not image.getexif()
                np.testing.assert_array_equal(np.asarray(image.convert("RGB")), stored(content))
    assert {value for value, *_ in found} == set(range(1, 9))


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_browsers_page_reads_nothing_beyond_a_torn_file():
    whole = [LAYOUTS[layout](tiff(6, thumbnail=3)) for layout in ("after JFIF", "PNG", "WebP")]
    torn = [base64.b64encode(content[:length]).decode() for content in whole for length in range(0, len(content), 7)]
    requests = [{"content": text, "pixels": "", "width": 0, "height": 0} for text in torn]
    command = ["node", "--input-type=module", "-e", _TURN]
    done = subprocess.run(command, cwd=PAGE, input=json.dumps(requests), capture_output=True, text=True, check=True)
    for text, row in zip(torn, json.loads(done.stdout), strict=True):
        assert row["orientation"] == orientation_in_graph(base64.b64decode(text)).numpy()
