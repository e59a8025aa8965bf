"""An extension of griffe: arguments and docstrings of the zoo's constructors, which are made at run time, by one function."""

from __future__ import annotations

import importlib
import inspect

import griffe

from scarlet_tf.models.zoo_data import ZOO

MODULE = "scarlet_tf.models.zoo"


class Constructors(griffe.Extension):
    """Extension that replaces the attributes that griffe finds with functions."""

    def on_package(self, *, pkg: griffe.Module, **_) -> None:
        """Called when all of the package has been read."""
        module, runtime = pkg["models.zoo"], importlib.import_module(MODULE)
        for name in (entry.constructor for entry in ZOO.values()):
            module.set_member(name, _function(getattr(runtime, name), module))


def _function(constructor, module: griffe.Module) -> griffe.Function:
    parameters = griffe.Parameters(
        *(
            griffe.Parameter(name, kind=griffe.ParameterKind.positional_or_keyword, default=repr(one.default))
            for name, one in inspect.signature(constructor).parameters.items()
        )
    )
    function = griffe.Function(constructor.__name__, parameters=parameters, parent=module)
    function.docstring = griffe.Docstring(inspect.getdoc(constructor) or "", parent=function)
    return function
