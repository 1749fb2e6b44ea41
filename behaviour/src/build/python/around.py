"""The wrapper of a plugin's module. Without it, an `Err` that is not a refusal of the
function that raises it, such as an uncaught error of the host, would end the call with a
`KeyError` instead of its reason."""

import importlib
import sys
from typing import get_args

from componentize_py_types import Err
from wit_world.imports import types

plugin = importlib.import_module("PLUGIN_MODULE")

# The function of each class, the types of its refusals, and the constructor of a refusal
# with a text.
EXPORTS = {
    "Methods": ("invoke", get_args(types.MethodError), types.MethodError_Failed),
    "Deferred": ("run", get_args(types.JobError), types.JobError_Other),
    "Desired": ("changed", get_args(types.JobError), types.JobError_Other),
    "Lifecycle": ("start", (str,), str),
}


def refusing(function, refusals, made):
    """Wraps a function so that every `Err` it raises is a refusal."""

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
