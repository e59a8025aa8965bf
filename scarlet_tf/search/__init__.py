"""Constrained and weighted NSGA-II over a trained supernet, hosted by KerasTuner.

`scarlet_tf.search` is a public function, too. Whichever of the two was imported last has the name, so the package can be called.
"""

import sys
import types


class _CallablePackage(types.ModuleType):
    def __call__(self, *arguments, **options):
        from scarlet_tf.search.run import search

        return search(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
