"""Files below a folder, classified by content: images, and everything else with the reason why it is left out.

Imports no framework.
"""

from __future__ import annotations

import os
import pathlib
import stat
from collections.abc import Iterator

from scarlet_tf.base.errors import InputError

# Endings of image files. A file with such an ending that is not a readable image counts as a lost image.
SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".jpe",
    ".jfif",
    ".png",
    ".gif",
    ".bmp",
    ".webp",
    ".tif",
    ".tiff",
    ".heic",
    ".heif",
    ".avif",
}
SUFFIXES |= {".jxl", ".jp2", ".ppm", ".pgm", ".dng", ".cr2", ".nef", ".arw"}
FORMATS = "JPEG, PNG, GIF, BMP and WebP"
# More unreadable images than this, at the beginning or in the middle of a training, end a run.
LARGEST_SKIPPED_SHARE = 0.01
HIDDEN, FOREIGN, EMPTY, BROKEN = "hidden or system", "no image", "empty", "broken link"
FORBIDDEN, CYCLE, SPECIAL = "no permission to read", "link to a folder read before", "no regular file"
DAMAGED, ANIMATED = "damaged", "animated WebP"
_SYSTEM_NAMES = {
    "@eadir",
    "#recycle",
    "#snapshot",
    "__macosx",
    "__pycache__",
    "$recycle.bin",
    "system volume information",
}
_SYSTEM_NAMES |= {"lost+found", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"}
_READ = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF8")  # JPEG, PNG, GIF
_NOT_READ = {
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
    b"\x00\x00\x00\x0cJXL ": "JPEG XL",
    b"\xff\x0a": "JPEG XL",
    b"\x00\x00\x00\x0cjP  ": "JPEG 2000",
}
_BRANDS = {b"avif": "AVIF", b"avis": "AVIF", b"heic": "HEIC", b"heix": "HEIC", b"mif1": "HEIC", b"heif": "HEIC"}
_HEAD_BYTES = 66
# Of BMP files: sizes of the headers from Windows, and, with 32 bits a pixel, the one order of colours that is read.
BMP_HEADERS = tuple(size.to_bytes(4, "little") for size in (40, 52, 56, 108, 124))
BMP_NO_COMPRESSION, BMP_FIELDS = bytes(4), b"\x03\x00\x00\x00"
BMP_MASKS = b"\x00\x00\xff\x00\x00\xff\x00\x00\xff\x00\x00\x00"


def is_hidden(name: str) -> bool:
    """True for names that begin with a dot and for what systems leave in folders, such as @eaDir or Thumbs.db."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def has_image_name(path: pathlib.Path) -> bool:
    """True where the ending is an image's."""
    return path.suffix.lower() in SUFFIXES


def problem_of_content(head: bytes) -> str | None:
    """Problem of a file by its first bytes: None for a readable image, else a format, or FOREIGN."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ANIMATED if head[12:16] == b"VP8X" and len(head) > 20 and head[20] & 2 else None
    if head[:2] == b"BM":
        # Two letters begin many texts, too; bitmap headers also have four bytes of zeros.
        return _problem_of_bmp(head) if head[6:10] == bytes(4) else FOREIGN
    if head.startswith(_READ):
        return None
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], FOREIGN)
    return next((name for magic, name in _NOT_READ.items() if head.startswith(magic)), FOREIGN)


def _problem_of_bmp(head: bytes) -> str | None:
    if head[14:18] not in BMP_HEADERS:
        return "BMP of OS/2"
    bits, compression = int.from_bytes(head[28:30], "little"), head[30:34]
    if bits not in (24, 32):
        return f"BMP of {bits} bits"
    has_fields = bits == 32 and compression == BMP_FIELDS and head[54:66] == BMP_MASKS
    return None if compression == BMP_NO_COMPRESSION or has_fields else "BMP with compression or other masks"


def list_folder(folder: pathlib.Path) -> list[os.DirEntry]:
    """The folder's entries by name; InputError where it may not be read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, error) from error


def is_folder(entry: os.DirEntry) -> bool:
    """True for a folder or a link to one; False for a link that cannot be followed."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def walk(folder: pathlib.Path) -> Iterator[tuple[pathlib.Path, str | None]]:
    """(path, problem) of every file at any depth, problem None for an image that can be read.

    Links to folders are followed; each folder is read once. Hidden and system folders are reported and not entered.
    """
    seen = {_identity(folder)}
    waiting = [folder]
    while waiting:
        for entry in list_folder(waiting.pop()):
            path = pathlib.Path(entry.path)
            if is_hidden(entry.name):
                yield path, HIDDEN
            elif not is_folder(entry):
                yield path, problem_of(path)
            elif (identity := _identity(path)) in seen:
                yield path, CYCLE
            else:
                seen.add(identity)
                waiting.append(path)


def problem_of(path: pathlib.Path) -> str | None:
    """Problem of a file, as far as its first bytes show; None for a readable image."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return SPECIAL
        with open(path, "rb") as file:
            head = file.read(_HEAD_BYTES)
    except PermissionError:
        return FORBIDDEN
    except OSError as error:
        return BROKEN if path.is_symlink() else error.strerror or str(error)
    return problem_of_content(head) if head else EMPTY


def _identity(folder: pathlib.Path) -> tuple[int, int]:
    try:
        found = folder.stat()
    except OSError as error:
        raise _unreadable(folder, error) from error
    return found.st_dev, found.st_ino


def _unreadable(folder: pathlib.Path, error: OSError) -> InputError:
    reason = "permission denied" if isinstance(error, PermissionError) else error.strerror or str(error)
    return InputError(f"{folder}: the folder could not be read: {reason}; allow it (chmod u+rx) or remove it")
