"""The files of a dataset in class folders, with or without folders of splits above them.

Nothing is skipped silently: `notes` names what is not used and counts what is left out, by reason.
"""

from __future__ import annotations

import dataclasses
import logging
import pathlib
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

from scarlet_tf.base.errors import InputError
from scarlet_tf.data.image_files import (
    BROKEN,
    CYCLE,
    EMPTY,
    FORBIDDEN,
    FOREIGN,
    HIDDEN,
    SPECIAL,
    has_image_name,
    is_folder,
    is_hidden,
    list_folder,
    walk,
)
from scarlet_tf.data.sources import check_class_names, find_directory, is_plain, looked_for, role_of

logger = logging.getLogger("scarlet_tf")
# A run writes these at its beginning; a folder with two of them belongs to a run and is no class.
RUN_FILES = ("config.yaml", "dataset.json", "run.log", ".lock")
_BESIDE = "beside the class folders"


@dataclasses.dataclass(frozen=True)
class SplitFiles:
    """Image files of one split, by class and name, with their labels; messages name them relative to `folder`.

    `problems` holds the reasons why some of these files cannot be read; the others are known by their first bytes alone.
    """

    folder: pathlib.Path
    paths: list[pathlib.Path]
    labels: list[int]
    problems: dict[pathlib.Path, str]


@dataclasses.dataclass(frozen=True)
class FolderFiles:
    """A dataset's folder, its classes and its splits: "train" always, "validation" and "test" where it has them.

    left_out: reason to paths of all files that are not images of a split, and of unreadable images.
    """

    root: pathlib.Path
    class_names: tuple[str, ...]
    splits: dict[str, SplitFiles]
    unused: tuple[str, ...]
    left_out: dict[str, list[pathlib.Path]]

    @property
    def name(self) -> str:
        """The folder's own name, also if it was given as "."."""
        return self.root.name if self.root.name not in ("", "..") else self.root.resolve().name

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines to show: each folder that is not used, and what is left out, counted by reason."""
        if not self.left_out:
            return self.unused
        counts = count_reasons(reason for reason, paths in self.left_out.items() for _ in paths)
        return (*self.unused, f"{self.name}: left out {counts} (named in run.log, and with --verbose)")

    def log_names(self) -> None:
        """Write the names of what is left out to the log; the terminal gets them with --verbose alone."""
        for reason, paths in self.left_out.items():
            names = "\n  ".join(repr(str(path.relative_to(self.root)))[1:-1] for path in paths)
            logger.debug("%s: left out as %s:\n  %s", self.name, reason, names)


def count_reasons(reasons: Iterable[str]) -> str:
    """Such as "3 hidden or system, 1 empty", the most frequent first."""
    return ", ".join(f"{count:,} {reason}" for reason, count in Counter(reasons).most_common())


def list_files(directory: str) -> FolderFiles:
    """List the folder, also searched under $SCARLET_DATA_DIR; InputError if it is not a dataset in class folders."""
    root = find_directory(directory)
    if not root.is_dir():
        raise InputError(
            f"data.directory: expected a folder of class folders, got {directory!r}, which is none;"
            f" {looked_for(directory)}"
        )
    return _Lister(root).list()


class _Lister:
    """Listing of one dataset, with notes."""

    def __init__(self, root: pathlib.Path):
        self._root = root
        self._unused: list[str] = []
        self._left_out: dict[str, list[pathlib.Path]] = {}

    def list(self) -> FolderFiles:
        splits = self._split_folders()
        classes = {name: self._class_folders(folder) for name, folder in splits.items()}
        class_names = _check_classes(splits, classes)
        files = {name: self._files(folder, classes[name], class_names) for name, folder in splits.items()}
        return FolderFiles(self._root, class_names, files, tuple(self._unused), self._left_out)

    def _split_folders(self) -> dict[str, pathlib.Path]:
        """Split name to folder; the root itself is the training split where it has no folder of training images."""
        root, folders = self._root, [path for path in _folders(self._root) if not _is_run(path)]
        named: dict[str, list[pathlib.Path]] = {}
        for path in folders:
            if role := role_of(path.name):
                named.setdefault(role, []).append(path)
        holding = {role: [path for path in paths if _folders(path)] for role, paths in named.items()}
        others = [path for path in folders if role_of(path.name) is None]
        # train/ without subfolders may be a class, such as the vehicle; a prefix may be part of a class's name.
        has_classes = len(named) == 1 and any(_folders(path) for path in others)
        trains = [path for path in holding.get("train", []) if is_plain(path.name) or not has_classes]
        if not trains:
            _refuse_lone_splits(root, named, others)
            return {"train": root}
        self._note_beside(root)
        chosen = {}
        for role, paths in {**holding, "train": trains}.items():
            if len(paths) > 1:
                names = " and ".join(f"{path.name}/" for path in paths)
                raise InputError(f"{root}: expected one folder of {role} images, got both {names}; rename one of them")
            if paths:
                chosen[role] = paths[0]
        for path in folders:
            if path not in chosen.values():
                why = "its name is not that of a split" if _folders(path) else "it holds no class folders"
                self._unused.append(f"{path.name}/ is not used: {why}")
        return {role: self._innermost(chosen[role], role) for role in ("train", "validation", "test") if role in chosen}

    def _innermost(self, folder: pathlib.Path, role: str) -> pathlib.Path:
        """The folder itself, or the only one in it where that has the same role, as archives hold them."""
        inner = _folders(folder)
        if len(inner) == 1 and role_of(inner[0].name) == role and _folders(inner[0]):
            self._note_beside(folder)
            return self._innermost(inner[0], role)
        return folder

    def _class_folders(self, folder: pathlib.Path) -> dict[str, pathlib.Path]:
        """Class name, in Unicode's composed form, to folder."""
        self._note_beside(folder)
        found: dict[str, pathlib.Path] = {}
        for path in _folders(folder):
            if _is_run(path):
                continue
            name = unicodedata.normalize("NFC", path.name)
            if name in found:
                raise InputError(
                    f"{folder}: two class folders have the name {name}, in two Unicode forms: {found[name].name!a} and"
                    f" {path.name!a}; move the images of one into the other"
                )
            found[name] = path
        check_class_names(found, str(folder))
        return found

    def _note_beside(self, folder: pathlib.Path) -> None:
        """Record hidden folders, run folders and files beside the class folders."""
        for entry in list_folder(folder):
            path = pathlib.Path(entry.path)
            if is_hidden(entry.name):
                self._leave_out(path, HIDDEN)
            elif not is_folder(entry):
                self._leave_out(path, _BESIDE)
            elif _is_run(path):
                self._unused.append(f"{path.relative_to(self._root)}/ is not used: it belongs to a run")

    def _leave_out(self, path: pathlib.Path, reason: str) -> None:
        self._left_out.setdefault(reason, []).append(path)

    def _files(self, folder: pathlib.Path, classes: dict[str, pathlib.Path], class_names: Sequence[str]) -> SplitFiles:
        _refuse_level(folder, classes.values())
        files, empty = SplitFiles(folder, [], [], {}), []
        for label, name in enumerate(class_names):
            images = []
            # Paths themselves are in another order on Windows.
            for path, problem in sorted(walk(classes[name]), key=lambda found: found[0].parts):
                if problem is not None:
                    self._leave_out(path, problem)
                if problem is None or _is_lost_image(path, problem):
                    images.append(path)
                    files.problems.update({path: problem} if problem else {})
            if not images:
                empty.append(classes[name])
            files.paths.extend(images)
            files.labels.extend([label] * len(images))
        if empty:
            others = f", nor in {', '.join(path.name for path in empty[1:6])}" if len(empty) > 1 else ""
            raise InputError(
                f"{empty[0]}: expected images in this class folder, got none{others}; add images or remove the folder"
            )
        return files


def _folders(folder: pathlib.Path) -> list[pathlib.Path]:
    return [pathlib.Path(entry.path) for entry in list_folder(folder) if is_folder(entry) and not is_hidden(entry.name)]


def _is_run(folder: pathlib.Path, depth: int = 3) -> bool:
    """True for a run's folder, and for one that holds nothing but such folders, as runs/ does."""
    entries = list_folder(folder)
    if sum(entry.name in RUN_FILES for entry in entries) >= 2:
        return True
    entries = [entry for entry in entries if not is_hidden(entry.name)]
    folders = [pathlib.Path(entry.path) for entry in entries if is_folder(entry)]
    return depth > 0 and 0 < len(folders) == len(entries) and all(_is_run(path, depth - 1) for path in folders)


def _refuse_lone_splits(
    root: pathlib.Path, named: dict[str, list[pathlib.Path]], others: Sequence[pathlib.Path]
) -> None:
    """Raise InputError for folders of splits without one of training images that holds class folders."""
    plain = [path for role in ("validation", "test") for path in named.get(role, []) if is_plain(path.name)]
    lone = plain if others else [path for paths in named.values() for path in paths]
    if not lone:
        return
    names = " and ".join(sorted(f"{path.name}/" for path in lone))
    if "train" in named and not others:
        raise InputError(
            f"{root}: expected class folders in {names}, which are named as splits, got none; put the images of each class"
            f" into a folder of its own, such as {named['train'][0]}/cat/1.jpg"
        )
    raise InputError(
        f"{root}: expected a folder train/ beside {names}, got none; put the class folders of the training images into"
        f" {root}/train, or rename {names} if that is a class"
    )


def _check_classes(folders: dict[str, pathlib.Path], classes: dict[str, dict[str, pathlib.Path]]) -> tuple[str, ...]:
    """Sorted names of the class folders, which must be the same in every split."""
    train = folders["train"]
    expected = tuple(sorted(classes["train"]))
    if len(expected) < 2:
        below = _folders(classes["train"][expected[0]]) if expected else []
        hint = f"; did you mean {classes['train'][expected[0]]}?" if len(below) > 1 or _has_train(below) else ""
        raise InputError(
            f"{train}: expected at least two class folders, got {list(expected)}; put the images of each class into a"
            f" folder of its own, such as {train}/cat/1.jpg and {train}/dog/1.jpg{hint}"
        )
    for split, folder in folders.items():
        if classes[split].keys() != set(expected):
            names = set(classes[split])
            missing, extra = sorted(set(expected) - names), sorted(names - set(expected))
            raise InputError(
                f"{folder}: expected the {len(expected)} class folders of {train}, got {len(names)};"
                f" missing {missing[:5]}, unknown {extra[:5]}"
            )
    return expected


def _has_train(folders: Sequence[pathlib.Path]) -> bool:
    return any(role_of(path.name) == "train" for path in folders)


def _refuse_level(folder: pathlib.Path, classes: Iterable[pathlib.Path]) -> None:
    """Raise InputError if all class folders hold two or more folders of the same names, and not all hold images themselves."""
    common: set[str] | None = None
    all_hold_images = True
    for path in classes:
        entries = [entry for entry in list_folder(path) if not is_hidden(entry.name)]
        names = {unicodedata.normalize("NFC", entry.name) for entry in entries if is_folder(entry)}
        common = names if common is None else common & names
        if len(common) < 2:
            return
        all_hold_images &= any(has_image_name(pathlib.Path(entry.name)) for entry in entries if not is_folder(entry))
    if all_hold_images or not common:
        return
    found, first = sorted(common), min(classes)
    raise InputError(
        f"{folder}: its class folders, such as {first.name}, all hold the folders {', '.join(found[:5])}: probably the dataset"
        f" is one level lower; name that folder, such as {first}, or, if {first.name} is a class, move its images out of"
        " these folders"
    )


def _is_lost_image(path: pathlib.Path, problem: str) -> bool:
    """True if an unreadable file was probably meant as an image."""
    if problem in (HIDDEN, CYCLE, SPECIAL):
        return False
    if has_image_name(path):
        return True
    return not path.suffix if problem in (BROKEN, FORBIDDEN) else problem not in (EMPTY, FOREIGN)
