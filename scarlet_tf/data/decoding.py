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


# -- EXIF orientation of encoded images, read from the bytes and undone on the pixels, with TensorFlow operations only
#
# EXIF is stored in the first APP1 segment of a JPEG file that begins with "Exif" (of the segments before the first scan, in any
# order), in a PNG file's eXIf chunk, or in a WebP file's EXIF chunk. The orientation is tag 0x0112 of its first directory, a
# single SHORT or LONG from 1 to 8. Anything unreadable counts as 1: a damaged block does not rotate an image.
# export/classify.py does the same without TensorFlow.


JPEG_BEGIN, PNG_BEGIN = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
_EXIF_BEGIN = b"Exif\x00\x00"
# Any of the three names. A search that removes it is quick, unlike `regex_full_match`, which reads byte by byte.
_NAMES = "(?i)exif"
# Steps through one file: a file made of tiny parts must not keep a server busy.
_MOST_PARTS = 2**14
_TAG, _SHORT, _LONG = 0x0112, 3, 4


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """EXIF orientation, 1 to 8, of a JPEG, PNG or WebP file's bytes; 1 where there is none."""
    length = tf.strings.length(encoded)
    # One test for the many images without EXIF, where stepping from part to part would cost more than decoding.
    without = tf.strings.length(tf.strings.regex_replace(encoded, _NAMES, "", replace_global=False))
    return tf.cond(without < length, lambda: _orientation_of_exif(_exif(encoded)), lambda: tf.constant(1))


def upright(image: tf.Tensor, exif_orientation: tf.Tensor) -> tf.Tensor:
    """Turn [H, W, C] pixels to orientation 1: mirrored for 2, 4, 5, 7; transposed for 5 to 8."""
    rows, columns = flips(exif_orientation)
    image = tf.cond(exif_orientation >= 5, lambda: tf.transpose(image, [1, 0, 2]), lambda: tf.identity(image))
    image = tf.cond(rows, lambda: tf.reverse(image, [0]), lambda: tf.identity(image))
    return tf.cond(columns, lambda: tf.reverse(image, [1]), lambda: tf.identity(image))


def flips(exif_orientation: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """(rows, columns): True for each that `upright` reverses after transposing."""
    rows = tf.reduce_any(tf.equal(exif_orientation, [3, 4, 7, 8]))
    return rows, tf.reduce_any(tf.equal(exif_orientation, [2, 3, 6, 7]))


def _exif(encoded: tf.Tensor) -> tf.Tensor:
    """The EXIF block; empty without one."""
    # RIFF, the file's size, WEBP; with metadata then VP8X, that part's size and a byte of flags, bit 3 for EXIF.
    header = tf.strings.join([tf.strings.substr(encoded, 0, 21), b"\x00" * 21])
    riff, webp, kind = (tf.strings.substr(header, at, 4) for at in (0, 8, 12))
    flags = tf.io.decode_raw(tf.strings.substr(header, 20, 1), tf.uint8)[0]
    extended_webp = (riff == b"RIFF") & (webp == b"WEBP") & (kind == b"VP8X") & (flags // 8 % 2 == 1)
    formats = [
        (tf.strings.substr(header, 0, 3) == JPEG_BEGIN, lambda: _find(encoded, 2, _jpeg_segment)),
        (tf.strings.substr(header, 0, 8) == PNG_BEGIN, lambda: _find(encoded, 8, _png_chunk)),
        (extended_webp, lambda: _find(encoded, 12, _webp_chunk)),
    ]
    return tf.case(formats, default=lambda: tf.constant(b""))


def _find(encoded: tf.Tensor, begin: int, read: Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple]) -> tf.Tensor:
    """The content of the first part that `read` knows as EXIF; empty without one.

    `read(encoded, position, length)` reads the header of the part at `position`, at most 10 bytes, and returns the next
    position and -1, or, for EXIF, the position and the size of its content.
    """
    length = tf.strings.length(encoded)
    position, size = tf.while_loop(
        lambda position, size: (size < 0) & (position <= length - 10),
        lambda position, _: read(encoded, position, length),
        (tf.constant(begin), tf.constant(-1)),
        parallel_iterations=1,
        maximum_iterations=_MOST_PARTS,
    )
    return tf.strings.substr(encoded, tf.minimum(position, length), tf.maximum(size, 0))


def _jpeg_segment(encoded: tf.Tensor, position: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    marker, size = _numbers(tf.strings.substr(encoded, position, 4), tf.uint16, little=False, count=2)
    is_exif = (marker == 0xFFE1) & (tf.strings.substr(encoded, position + 4, 6) == _EXIF_BEGIN)
    # Bytes between the segments, such as the 0xFF that may fill them up, are passed over.
    after = position + tf.where((marker > 0xFF00) & (marker < 0xFFFF), size + 2, 1)
    after = tf.where(marker == 0xFFDA, length, after)
    return tf.where(is_exif, position + 4, after), tf.where(is_exif, tf.maximum(size - 2, 0), -1)


def _png_chunk(encoded: tf.Tensor, position: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    size, name = _numbers(tf.strings.substr(encoded, position, 8), tf.int32, little=False, count=2)
    size = _within(size, length - position)
    is_exif, is_end = (name == int.from_bytes(chunk, "big") for chunk in (b"eXIf", b"IEND"))
    after = tf.where(is_end, length, position + size + 12)
    return tf.where(is_exif, position + 8, after), tf.where(is_exif, size, -1)


def _webp_chunk(encoded: tf.Tensor, position: tf.Tensor, length: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    name, size = _numbers(tf.strings.substr(encoded, position, 8), tf.int32, little=True, count=2)
    size = _within(size, length - position)
    is_exif = name == int.from_bytes(b"EXIF", "little")
    return tf.where(is_exif, position, position + size + size % 2) + 8, tf.where(is_exif, size, -1)


def _within(size: tf.Tensor, most: tf.Tensor) -> tf.Tensor:
    """The size, at most `most`; one of 2 ** 31 or more is read as a negative number."""
    return tf.where((size < 0) | (size > most), most, size)


def _orientation_of_exif(exif: tf.Tensor) -> tf.Tensor:
    # In JPEG files the block begins so, in others sometimes; Pillow, too, removes it as often as it is there.
    tiff = tf.strings.regex_replace(exif, r"^(Exif\x00\x00)+", "", replace_global=False)
    order = tf.strings.substr(tiff, 0, 4)
    orders = [
        (order == b"II*\x00", lambda: _tag(tiff, little=True)),
        (order == b"MM\x00*", lambda: _tag(tiff, little=False)),
    ]
    value = tf.case(orders, default=lambda: tf.constant(1))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def _tag(tiff: tf.Tensor, little: bool) -> tf.Tensor:
    """The number of the first directory's first entry with the tag; 0 without one."""
    length = tf.strings.length(tiff)
    offset = _numbers(_padded(tiff, 4, 4), tf.int32, little, 1)[0]
    offset = _within(offset, length)
    entries = _numbers(_padded(tiff, offset, 2), tf.uint16, little, 1)[0]
    offset = tf.minimum(offset + 2, length)
    # In a truncated directory, the entries that are there count.
    entries = tf.minimum(entries, (length - offset) // 12)
    table = tf.io.decode_raw(tf.strings.substr(tiff, offset, 12 * entries), tf.uint16, little_endian=little)
    # Tag, type, number of values (two halves), value (two halves, or a SHORT in the first).
    found = tf.reshape(tf.cast(table, tf.int32), [-1, 6])
    found = tf.concat([tf.boolean_mask(found, found[:, 0] == _TAG), tf.zeros([1, 6], tf.int32)], 0)[0]
    (kind, value), (low, high) = (found[1], found[4]), ((0, 1) if little else (1, 0))
    is_single = (found[2 + low] == 1) & (found[2 + high] == 0)
    long = tf.where(found[4 + high] == 0, found[4 + low], 0)
    value = tf.where(kind == _SHORT, value, tf.where(kind == _LONG, long, 0))
    return tf.where(is_single, value, 0)


def _padded(text: tf.Tensor, position, size: int) -> tf.Tensor:
    """`size` bytes from `position` on, zeros beyond the end."""
    found = tf.strings.substr(text, tf.minimum(position, tf.strings.length(text)), size)
    return tf.strings.substr(tf.strings.join([found, b"\x00" * size]), 0, size)


def _numbers(text: tf.Tensor, kind: tf.DType, little: bool, count: int) -> list[tf.Tensor]:
    """`count` scalars int32 from as many numbers in `text`."""
    return tf.unstack(tf.cast(tf.io.decode_raw(text, kind, little_endian=little), tf.int32), count)
