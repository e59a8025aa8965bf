"""Encoded JPEG, PNG, GIF, BMP or WebP bytes to upright RGB pixels, with TensorFlow operations only.

A photograph is rotated according to its EXIF orientation, so that training sees what people see. An animation gives its
first frame; transparency is dropped, 16-bit samples are reduced to 8, CMYK becomes RGB. An animated
WebP file is refused: TensorFlow 2.21 writes past the end of its memory on some of them. So are BMP files with a palette, of
16 bits or compressed, which it reads as other pixels or not at all.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

from scarlet_tf.data.image_files import BMP_FIELDS, BMP_HEADERS, BMP_MASKS, BMP_NO_COMPRESSION
from scarlet_tf.data.orientation import JPEG_BEGIN, PNG_BEGIN, flips, orientation, upright

_JPEG_END = b"\xff\xd9"
# TensorFlow's default is a quicker transform that is some levels off what phones and browsers decode.
_DCT_METHOD = "INTEGER_ACCURATE"
# Colour at half the resolution is interpolated from both neighbours, which at an edge of what is decoded are not there.
_MARGIN = 2


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decode a scalar string to uint8 [H, W, 3]; tf.errors.InvalidArgumentError when that is impossible."""
    image = tf.cond(
        tf.equal(tf.strings.substr(encoded, 0, 3), JPEG_BEGIN),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method=_DCT_METHOD),
        lambda: _decode_other(encoded),
    )
    image.set_shape([None, None, 3])
    value = orientation(encoded)
    image = tf.cond(value > 1, lambda: upright(image, value), lambda: tf.identity(image))
    return tf.ensure_shape(image, [None, None, 3])


def _decode_other(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 3] of any format but JPEG."""
    # RIFF, the file's size, WEBP; with extensions then VP8X, that part's size and a byte of flags, bit 1 for animation.
    header = tf.strings.join([tf.strings.substr(encoded, 0, 21), b"\x00" * 21])
    riff, webp, kind = (tf.strings.substr(header, at, 4) for at in (0, 8, 12))
    animated = tf.equal(kind, b"VP8X") & (_byte(header, 20) // 2 % 2 == 1)
    # An animated file stays with `decode_image`, which refuses it where three channels are asked for.
    still_webp = tf.equal(riff, b"RIFF") & tf.equal(webp, b"WEBP") & ~animated
    return tf.cond(
        still_webp,
        lambda: tf.io.decode_webp(encoded, channels=0)[0, ..., :3],  # with transparency it has four channels
        lambda: tf.cond(
            tf.strings.substr(encoded, 0, 2) == b"BM",
            lambda: _decode_bmp(encoded),
            lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
        ),
    )


def _decode_bmp(encoded: tf.Tensor) -> tf.Tensor:
    """uint8 [H, W, 3]; InvalidArgumentError for what `problem_of_content` in image_files.py refuses by the same rule."""
    header = tf.strings.join([tf.strings.substr(encoded, 0, 66), b"\x00" * 66])
    size, bits, compression = (tf.strings.substr(header, at, length) for at, length in ((14, 4), (28, 2), (30, 4)))
    has_fields = (compression == BMP_FIELDS) & (tf.strings.substr(header, 54, 12) == BMP_MASKS)
    is_24, is_32, is_plain = bits == b"\x18\x00", bits == b"\x20\x00", compression == BMP_NO_COMPRESSION
    is_read = tf.reduce_any(size == list(BMP_HEADERS)) & ((is_24 & is_plain) | (is_32 & (is_plain | has_fields)))
    check = tf.debugging.Assert(is_read, ["BMP: expected 24 or 32 bits a pixel without compression"])
    with tf.control_dependencies([check] if check is not None else []):
        return tf.io.decode_bmp(encoded)[..., :3]


def sixteen_bit_peak(encoded: bytes) -> int | None:
    """The greatest sample, up to 65535, of a PNG file with 16 bits a sample, alpha apart; None of any other file."""
    if not encoded.startswith(PNG_BEGIN) or encoded[24:25] != b"\x10":
        return None
    channels = 1 if encoded[25] in (0, 4) else 3  # the colour types of grey
    return int(tf.reduce_max(tf.cast(tf.io.decode_png(encoded, channels, tf.uint16), tf.int32)))


def can_crop(encoded: tf.Tensor) -> tf.Tensor:
    """True if `decode_and_crop` can read it: a complete JPEG file of grey or colour samples, not CMYK.

    A file without JPEG's end marker may be truncated, which shows only when all of it is decoded.
    """
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), JPEG_BEGIN)
    length = tf.strings.length(encoded)
    is_whole = tf.equal(tf.strings.substr(encoded, tf.maximum(length - 2, 0), 2), _JPEG_END)
    whole_jpeg = is_jpeg & is_whole
    return tf.cond(whole_jpeg, lambda: tf.image.extract_jpeg_shape(encoded)[2] <= 3, lambda: tf.constant(False))


def decode_and_crop(encoded: tf.Tensor, choose: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """Decode only a part of an image, bit by bit equal to that part of `decode(encoded)`; for files that pass `can_crop`.

    `choose` gets the image's height and width, int32 [2], from the file's header, and returns the box (top,
    left, height, width), int32 [4].
    """
    stored = tf.image.extract_jpeg_shape(encoded)[:2]
    value = orientation(encoded)

    def turned():
        size = tf.where(value >= 5, stored[::-1], stored)
        begin, extent = tf.split(choose(size), 2)
        # The box before `upright`: its steps are undone, last to first.
        flipped = tf.stack(flips(value))
        begin = tf.where(flipped, size - begin - extent, begin)
        box = tf.where(value >= 5, tf.concat([begin[::-1], extent[::-1]], 0), tf.concat([begin, extent], 0))
        return upright(_decode_box(encoded, stored, box), value)

    return tf.cond(value > 1, turned, lambda: _decode_box(encoded, stored, choose(stored)))


def _decode_box(encoded: tf.Tensor, size: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """The box of a JPEG file of height and width `size`, as it is stored."""
    begin, extent = tf.split(box, 2)
    least = tf.maximum(begin - _MARGIN, 0)
    most = tf.minimum(begin + extent + _MARGIN, size)
    box = tf.concat([least, most - least], 0)
    image = tf.image.decode_and_crop_jpeg(encoded, box, channels=3, dct_method=_DCT_METHOD)
    return tf.slice(image, tf.pad(begin - least, [[0, 1]]), tf.pad(extent, [[0, 1]], constant_values=3))


def _byte(text: tf.Tensor, position: int) -> tf.Tensor:
    """The byte at `position` as a number, 0 beyond the end."""
    padded = tf.strings.join([tf.strings.substr(text, 0, position + 1), b"\x00" * (position + 1)])
    return tf.cast(tf.io.decode_raw(padded, tf.uint8)[position], tf.int32)
