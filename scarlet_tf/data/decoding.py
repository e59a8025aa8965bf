"""Encoded JPEG, PNG, GIF or BMP bytes to upright RGB pixels, with TensorFlow operations only.

A photograph is turned the way its EXIF orientation says, so that what is trained on is what people see. Of an
animation the first frame counts; transparency is dropped, 16-bit samples are reduced to 8, CMYK becomes RGB.
"""

from __future__ import annotations

import tensorflow as tf

# EXIF is a JPEG file's first segment, at most JFIF's 18 bytes before it, and its first directory holds the orientation.
_HEADER_BYTES = 1024
_HAS_EXIF = r"\C*Exif\x00\x00(II\*\x00|MM\x00\*)\C*"
# Tag 0x0112, type SHORT, count 1, in Intel's and in Motorola's byte order.
_ORIENTATION_LITTLE = b"\x12\x01\x03\x00\x01\x00\x00\x00"
_ORIENTATION_BIG = b"\x01\x12\x00\x03\x00\x00\x00\x01"


def decode(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a scalar string to uint8 [H, W, 3]; tf.errors.InvalidArgumentError when that is impossible."""
    image = tf.io.decode_image(encoded, channels=3, expand_animations=False)
    image.set_shape([None, None, 3])
    has_exif = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, _HEADER_BYTES), _HAS_EXIF)
    # One test for the many images without EXIF: on small ones the search for the tag would cost more than decoding.
    image = tf.cond(has_exif, lambda: upright(image, orientation(encoded)), lambda: tf.identity(image))
    return tf.ensure_shape(image, [None, None, 3])


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """EXIF orientation, 1 to 8, of a JPEG file's bytes; 1 where there is none."""
    header = tf.strings.substr(encoded, 0, _HEADER_BYTES)
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, 3), b"\xff\xd8\xff")
    little = _part_after(header, b"Exif\x00\x00II*\x00")
    big = _part_after(header, b"Exif\x00\x00MM\x00*")
    # A big-endian SHORT has its low byte second; after the split the value begins with byte 0 or 1.
    little = _byte(_part_after(little, _ORIENTATION_LITTLE), 0)
    big = _byte(_part_after(big, _ORIENTATION_BIG), 1)
    value = tf.maximum(little, big)
    return tf.where(is_jpeg & (value >= 1) & (value <= 8), value, 1)


def upright(image: tf.Tensor, exif_orientation: tf.Tensor) -> tf.Tensor:
    """Turns [H, W, C] pixels so that orientation 1 holds: mirrored for 2, 4, 5, 7; transposed for 5 to 8."""
    flip_rows = tf.reduce_any(tf.equal(exif_orientation, [3, 4, 7, 8]))
    flip_columns = tf.reduce_any(tf.equal(exif_orientation, [2, 3, 6, 7]))
    image = tf.cond(exif_orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: tf.identity(image))
    image = tf.cond(flip_rows, lambda: tf.reverse(image, [0]), lambda: tf.identity(image))
    return tf.cond(flip_columns, lambda: tf.reverse(image, [1]), lambda: tf.identity(image))


def _part_after(text: tf.Tensor, mark: bytes) -> tf.Tensor:
    """What stands between the first `mark` and the next one; empty without one."""
    parts = tf.concat([tf.strings.split(text, mark), [b"", b""]], axis=0)
    return parts[1]


def _byte(text: tf.Tensor, position: int) -> tf.Tensor:
    """The byte at `position` as a number, 0 beyond the end."""
    padded = tf.strings.join([tf.strings.substr(text, 0, position + 1), b"\x00" * (position + 1)])
    return tf.cast(tf.io.decode_raw(padded, tf.uint8)[position], tf.int32)
