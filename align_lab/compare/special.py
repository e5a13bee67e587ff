"""scipy's special functions. Importing them star-imports numpy, which loads numpy's Fortran parser and its test tools:
two thirds of what `compare` would spend on imports. Here these load when somebody asks them for something, that is never.
"""

from __future__ import annotations

import importlib.util
import sys

import numpy

UNUSED = ("numpy.f2py", "numpy.testing")


def _when_asked(name: str) -> None:
    """Put a module into sys.modules that loads itself at the first look into it."""
    spec = None if name in sys.modules else importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        return
    spec.loader = importlib.util.LazyLoader(spec.loader)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    setattr(numpy, name.rpartition(".")[2], module)
    spec.loader.exec_module(module)


for _name in UNUSED:
    _when_asked(_name)

from scipy.special import betaincinv, ndtri, stdtr, stdtrit  # noqa: E402

__all__ = ["betaincinv", "ndtri", "stdtr", "stdtrit"]
