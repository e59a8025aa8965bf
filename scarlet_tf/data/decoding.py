"""Encoded JPEG, PNG, GIF, BMP or WebP bytes to upright RGB pixels, with TensorFlow operations only.

A photograph is turned the way its EXIF orientation says, so that what is trained on is what people see. Of an
animation the first frame counts; transparency is dropped, 16-bit samples are reduced to 8, CMYK becomes RGB. An animated
WebP file is refused: TensorFlow 2.21 writes past the end of its memory on some of them.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

_JPEG_BEGIN, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
# TensorFlow's default is a quicker transform that is some levels off what phones and browsers decode.
_DCT_METHOD = "INTEGER_ACCURATE"
# Colour at half the resolution is interpolated from both neighbours, which at an edge of what is decoded are not there.
_MARGIN = 2
# EXIF is a JPEG file's first segment, at most JFIF's 18 bytes before it, and its first directory holds the orientation.
_HEADER_BYTES = 1024
_HAS_EXIF = r"\C*Exif\x00\x00(II\*\x00|MM\x00\*)\C*"
# Tag 0x0112, type SHORT, count 1, in Intel's and in Motorola's byte order.
_ORIENTATION_LITTLE = b"\x12\x01\x03\x00\x01\x00\x00\x00"
_ORIENTATION_BIG = b"\x01\x12\x00\x03\x00\x00\x00\x01"


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a scalar string to uint8 [H, W, 3]; tf.errors.InvalidArgumentError when that is impossible."""
    image = tf.cond(
        tf.equal(tf.strings.substr(encoded, 0, 3), _JPEG_BEGIN),
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method=_DCT_METHOD),
        lambda: _decode_other(encoded),
    )
    image.set_shape([None, None, 3])
    has_exif = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, _HEADER_BYTES), _HAS_EXIF)
    # One test for the many images without EXIF: on small ones the search for the tag would cost more than decoding.
    image = tf.cond(has_exif, lambda: upright(image, orientation(encoded)), lambda: tf.identity(image))
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
        lambda: tf.io.decode_image(encoded, channels=3, expand_animations=False),
    )


def can_crop(encoded: tf.Tensor) -> tf.Tensor:
    """Whether `decode_and_crop` serves: a whole JPEG file of grey or colour samples, not CMYK.

    A file that does not end as JPEG files do may be torn, which shows only when all of it is decoded.
    """
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), _JPEG_BEGIN)
    length = tf.strings.length(encoded)
    is_whole = tf.equal(tf.strings.substr(encoded, tf.maximum(length - 2, 0), 2), _JPEG_END)
    whole_jpeg = is_jpeg & is_whole
    return tf.cond(whole_jpeg, lambda: tf.image.extract_jpeg_shape(encoded)[2] <= 3, lambda: tf.constant(False))


def decode_and_crop(encoded: tf.Tensor, choose: Callable[[tf.Tensor], tf.Tensor]) -> tf.Tensor:
    """A part of `decode(encoded)`, bit by bit, of which only that part is decoded; for files that pass `can_crop`.

    `choose` gets the image's height and width, int32 [2], as the file's header tells them, and answers the box (top,
    left, height, width), int32 [4].
    """
    stored = tf.image.extract_jpeg_shape(encoded)[:2]
    has_exif = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, _HEADER_BYTES), _HAS_EXIF)

    def turned():
        value = orientation(encoded)
        size = tf.where(value >= 5, stored[::-1], stored)
        begin, extent = tf.split(choose(size), 2)
        # The box before `upright`, whose steps are undone last to first.
        flipped = tf.stack([_flips_rows(value), _flips_columns(value)])
        begin = tf.where(flipped, size - begin - extent, begin)
        box = tf.where(value >= 5, tf.concat([begin[::-1], extent[::-1]], 0), tf.concat([begin, extent], 0))
        return upright(_decode_box(encoded, stored, box), value)

    return tf.cond(has_exif, turned, lambda: _decode_box(encoded, stored, choose(stored)))


def _decode_box(encoded: tf.Tensor, size: tf.Tensor, box: tf.Tensor) -> tf.Tensor:
    """The box of a JPEG file of height and width `size`, as it is stored."""
    begin, extent = tf.split(box, 2)
    least = tf.maximum(begin - _MARGIN, 0)
    most = tf.minimum(begin + extent + _MARGIN, size)
    box = tf.concat([least, most - least], 0)
    image = tf.image.decode_and_crop_jpeg(encoded, box, channels=3, dct_method=_DCT_METHOD)
    return tf.slice(image, tf.pad(begin - least, [[0, 1]]), tf.pad(extent, [[0, 1]], constant_values=3))


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """EXIF orientation, 1 to 8, of a JPEG file's bytes; 1 where there is none."""
    header = tf.strings.substr(encoded, 0, _HEADER_BYTES)
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), _JPEG_BEGIN)
    little = _part_after(header, b"Exif\x00\x00II*\x00")
    big = _part_after(header, b"Exif\x00\x00MM\x00*")
    # A big-endian SHORT has its low byte second; after the split the value begins with byte 0 or 1.
    little = _byte(_part_after(little, _ORIENTATION_LITTLE), 0)
    big = _byte(_part_after(big, _ORIENTATION_BIG), 1)
    value = tf.maximum(little, big)
    return tf.where(is_jpeg & (value >= 1) & (value <= 8), value, 1)


def upright(image: tf.Tensor, exif_orientation: tf.Tensor) -> tf.Tensor:
    """Turns [H, W, C] pixels so that orientation 1 holds: mirrored for 2, 4, 5, 7; transposed for 5 to 8."""
    flip_rows, flip_columns = _flips_rows(exif_orientation), _flips_columns(exif_orientation)
    image = tf.cond(exif_orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: tf.identity(image))
    image = tf.cond(flip_rows, lambda: tf.reverse(image, [0]), lambda: tf.identity(image))
    return tf.cond(flip_columns, lambda: tf.reverse(image, [1]), lambda: tf.identity(image))


def _flips_rows(exif_orientation: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(tf.equal(exif_orientation, [3, 4, 7, 8]))


def _flips_columns(exif_orientation: tf.Tensor) -> tf.Tensor:
    return tf.reduce_any(tf.equal(exif_orientation, [2, 3, 6, 7]))


def _part_after(text: tf.Tensor, mark: bytes) -> tf.Tensor:
    """What stands between the first `mark` and the next one; empty without one."""
    parts = tf.concat([tf.strings.split(text, mark), [b"", b""]], axis=0)
    return parts[1]


def _byte(text: tf.Tensor, position: int) -> tf.Tensor:
    """The byte at `position` as a number, 0 beyond the end."""
    padded = tf.strings.join([tf.strings.substr(text, 0, position + 1), b"\x00" * (position + 1)])
    return tf.cast(tf.io.decode_raw(padded, tf.uint8)[position], tf.int32)
