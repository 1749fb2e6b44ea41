"""The wrapper of a plugin's module. An `Err` that is no refusal of the function that
raises it, such as an error of the host that nothing has caught, would end the call with
a `KeyError` in place of its reason."""

import importlib
import sys
from typing import get_args

from componentize_py_types import Err
from wit_world.imports import types

plugin = importlib.import_module("PLUGIN_MODULE")

# The functions of each class, their refusals, and how to make one of a text.
EXPORTS = {
    "Methods": ("invoke", get_args(types.MethodError), types.MethodError_Failed),
    "Deferred": ("run", get_args(types.JobError), types.JobError_Other),
    "Desired": ("changed", get_args(types.JobError), types.JobError_Other),
    "Lifecycle": ("start", (str,), str),
}


def refusing(function, refusals, made):
    """Returns the function, raising nothing as an `Err` but refusals."""

    def call(*given):
        try:
            return function(*given)
        except Err as error:
            if isinstance(error.value, refusals):
                raise
            sys.__excepthook__(type(error), error, error.__traceback__)
            why = str(error.value)
        raise Err(made(why))

    return call


for name, (function, refusals, made) in EXPORTS.items():
    owner = getattr(plugin, name, None)
    if own := getattr(owner, function, None):
        globals()[name] = type(name, (owner,), {function: refusing(own, refusals, made)})
