"""Pixels of unusual files: training's decoder against Pillow and classify.py, or refused with the reason."""

import io
import pathlib
import sys

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from scarlet_tf.data import folder
from scarlet_tf.data.data_config import DataConfig
from scarlet_tf.data.decoding import decode, sixteen_bit_peak
from scarlet_tf.data.image_files import problem_of_content
from scarlet_tf.data.looking import look_at_folder
from scarlet_tf.data.preprocessing import Preprocessing

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "export"))
import classify

decode_in_graph = tf.function(decode, input_signature=[tf.TensorSpec([], tf.string)])
NOISE = np.random.default_rng(0).integers(0, 256, (13, 17, 4), np.uint8)
SMOOTH = np.kron(NOISE[:4, :5, :3], np.ones([8, 8, 1], np.uint8))


def encode(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def without_adobe(jpeg):
    begin = jpeg.index(b"\xff\xee")
    return jpeg[:begin] + jpeg[begin + 2 + int.from_bytes(jpeg[begin + 2 : begin + 4], "big") :]


def as_ycck(jpeg):
    """The Adobe segment's last byte is the transform: 2 for YCCK. The colours are others, of any such file."""
    at = jpeg.index(b"Adobe") + 11
    return jpeg[:at] + b"\x02" + jpeg[at + 1 :]


RGBA = Image.fromarray(NOISE)
RGB = RGBA.convert("RGB")
PALETTE = RGB.quantize(16)
CMYK = encode(Image.fromarray(SMOOTH).convert("CMYK"), "jpeg", quality=95)
FIELDS = bytearray(encode(RGBA, "bmp"))
FIELDS[30:34], FIELDS[10:14] = (3).to_bytes(4, "little"), (66).to_bytes(4, "little")
FIELDS[54:54] = bytes.fromhex("0000ff0000ff0000ff000000")
READ = {
    "BMP of 24 bits": encode(RGB, "bmp"),
    "BMP of 32 bits": encode(RGBA, "bmp"),
    "BMP with masks": bytes(FIELDS),
    "CMYK": CMYK,
    "CMYK without Adobe's segment": without_adobe(CMYK),
    "YCCK": as_ycck(CMYK),
    "grey JPEG": encode(RGB.convert("L"), "jpeg"),
    "palette": encode(PALETTE, "png"),
    "palette with a transparent colour": encode(PALETTE, "png", transparency=3),
    "palette with transparency": encode(PALETTE, "png", transparency=bytes(range(0, 256, 16))),
    "grey with alpha": encode(RGBA.convert("LA"), "png"),
    "grey with a transparent level": encode(RGB.convert("L"), "png", transparency=int(NOISE[0, 0, 0])),
    "RGB with a transparent colour": encode(RGB, "png", transparency=tuple(int(v) for v in NOISE[0, 0, :3])),
    "one bit": encode(RGB.convert("1"), "png"),
    "16-bit grey": tf.io.encode_png(NOISE[..., :1].astype(np.uint16) * 257).numpy(),
    "16-bit grey with alpha": tf.io.encode_png(NOISE[..., :2].astype(np.uint16) * 257).numpy(),
    "16-bit RGB": tf.io.encode_png(NOISE[..., :3].astype(np.uint16) * 250).numpy(),
    "16-bit RGBA": tf.io.encode_png(NOISE.astype(np.uint16) * 250).numpy(),
}


@pytest.mark.parametrize("kind", READ)
def test_what_is_read_is_read_alike(kind):
    assert problem_of_content(READ[kind][:66]) is None
    with Image.open(io.BytesIO(READ[kind])) as image:
        classified = classify.rgb(image)
    np.testing.assert_array_equal(decode_in_graph(READ[kind]), classified)
    if "Adobe" not in kind and "16-bit" not in kind:
        with Image.open(io.BytesIO(READ[kind])) as image:
            np.testing.assert_array_equal(classified, np.asarray(image.convert("RGB")))


def altered(**fields):
    """A BMP file of 24 bits with other bytes in its header."""
    content = bytearray(encode(RGB, "bmp"))
    for name, value in fields.items():
        at = {"header": 14, "bits": 28, "compression": 30}[name]
        content[at] = value
    return bytes(content)


REFUSED = {
    "1": (encode(RGB.convert("1"), "bmp"), "BMP of 1 bits"),
    "4": (altered(bits=4), "BMP of 4 bits"),
    "grey": (encode(RGB.convert("L"), "bmp"), "BMP of 8 bits"),
    "palette": (encode(PALETTE, "bmp"), "BMP of 8 bits"),
    "RLE": (altered(bits=8, compression=1), "BMP of 8 bits"),
    "16": (altered(bits=16), "BMP of 16 bits"),
    "old": (altered(header=12), "BMP of OS/2"),
    "JPEG inside": (altered(compression=4), "BMP with compression or other masks"),
    "masks": (bytes(FIELDS[:54] + FIELDS[58:62] + FIELDS[54:58] + FIELDS[62:]), "BMP with compression or other masks"),
    "short": (altered()[:20], "BMP of 0 bits"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_bitmaps_that_would_be_misread_are_refused_with_the_reason(kind):
    content, reason = REFUSED[kind]
    assert problem_of_content(content[:66]) == reason
    with pytest.raises(tf.errors.InvalidArgumentError, match="BMP: expected 24 or 32 bits"):
        decode_in_graph(content)


def test_the_greatest_sample_of_16_bits_leaves_alpha_out():
    samples = np.full([3, 4, 4], 1023, np.uint16)
    samples[..., 3] = 65535
    for channels in (1, 3, 4):
        assert sixteen_bit_peak(tf.io.encode_png(samples[..., :channels]).numpy()) == 1023
    assert sixteen_bit_peak(tf.io.encode_png(samples[..., 2:]).numpy()) == 1023  # grey with alpha
    assert sixteen_bit_peak(READ["one bit"]) is sixteen_bit_peak(CMYK) is None


@pytest.mark.parametrize(
    "peak, said", [(1023, "1.6% of"), (4095, "6.2% of"), (16383, "25.0% of"), (16384, ""), (65535, "")]
)
def test_16_bit_images_that_use_a_part_of_their_range_are_noticed(tmp_path, peak, said):
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        for number in range(4):
            samples = np.full([4, 4, 1], number * peak // 3, np.uint16)
            (tmp_path / name / f"{number}.png").write_bytes(tf.io.encode_png(samples).numpy())
    config = DataConfig(source="folder", directory=str(tmp_path), image_size=4)
    for notes in (look_at_folder(config, 8).notes, folder.load(config, Preprocessing(4)).notes):
        lines = [note for note in notes if "16-bit" in note]
        assert len(lines) == bool(said)
        if said:
            factor = 65536 // (peak + 1)
            assert said in lines[0] and "8 16-bit PNG images" in lines[0] and f"multiply {factor})" in lines[0]
