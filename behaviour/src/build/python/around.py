"""The wrapper of a plugin's module. Without it, an `Err` that is not a valid refusal, such as
an uncaught error of the host, would end the call with a `KeyError` that hides the reason."""

import importlib
import sys
from typing import get_args

from componentize_py_types import Err

try:
    from wit_world.imports import types
except ImportError:  # The world has another interface `types`, such as that of `wasi:http`.
    from wit_world.imports import device_behaviour_types as types

plugin = importlib.import_module("PLUGIN_MODULE")

# The function of each class, the types of its refusals, and the constructor of a refusal
# with a string.
EXPORTS = {
    "Methods": ("invoke", get_args(types.MethodError), types.MethodError_Failed),
    "Deferred": ("run", get_args(types.JobError), types.JobError_Other),
    "Desired": ("changed", get_args(types.JobError), types.JobError_Other),
    "Messages": ("receive", get_args(types.JobError), types.JobError_Other),
    "Lifecycle": ("start", (str,), str),
}


def refusing(function, refusals, constructor):
    """Wraps a function so that every `Err` it raises is a refusal."""

    def call(*arguments):
        try:
            return function(*arguments)
        except Err as error:
            if isinstance(error.value, refusals):
                raise
            sys.__excepthook__(type(error), error, error.__traceback__)
            why = str(error.value)
        raise Err(constructor(why))

    return call


for name, (function, refusals, constructor) in EXPORTS.items():
    owner = getattr(plugin, name, None)
    if own := getattr(owner, function, None):
        globals()[name] = type(name, (owner,), {function: refusing(own, refusals, constructor)})
