"""The command `scarlet` as where the package is installed without its extras: `python only_required.py run my.yaml`."""

import importlib.metadata
import sys

from packaging.requirements import Requirement


class Without:
    """A finder of modules that does not find the top-level modules in `names`."""

    def __init__(self, finder, names):
        self._finder, self._names = finder, names

    def find_spec(self, fullname, path=None, target=None):
        hidden = fullname.partition(".")[0] in self._names
        return None if hidden else self._finder.find_spec(fullname, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)


def hide_extras():
    """Has this process find no module that comes with an extra alone, but for those that it has, as coverage may be."""
    names = refused() - {name.partition(".")[0] for name in sys.modules}
    sys.meta_path[:] = [Without(finder, names) for finder in sys.meta_path]


def required(distribution="scarlet_tf"):
    """The names of all distributions that come with `distribution`, as metadata states it, without any extra."""
    found, todo = set(), [(canonical(distribution), "")]
    while todo:
        name, extra = todo.pop()
        if (name, extra) in found:
            continue
        found.add((name, extra))
        try:
            texts = importlib.metadata.requires(name) or ()
        except importlib.metadata.PackageNotFoundError:  # on another system or Python alone
            continue
        for requirement in map(Requirement, texts):
            if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
                todo += [(canonical(requirement.name), wanted) for wanted in ("", *requirement.extras)]
    return {name for name, _ in found}


def canonical(name):
    return name.lower().replace("_", "-").replace(".", "-")


def refused():
    """Top-level modules that are installed here and that `required` does not bring."""
    wanted = required()
    return {
        module
        for module, distributions in importlib.metadata.packages_distributions().items()
        if not wanted & {canonical(name) for name in distributions}
    }


if __name__ == "__main__":
    hide_extras()
    from scarlet_tf.cli import main

    sys.exit(main())
