"""Answers the method `greet` with its payload, and reports the time to the twin."""

import json

import wit_world.exports
from componentize_py_types import Err
from wit_world.imports import clock, log, twin
from wit_world.imports.types import MethodError_Failed, MethodError_UnknownMethod, Response


class Methods(wit_world.exports.Methods):
    def invoke(self, name: str, payload: str) -> Response:
        """`payload` is JSON text. To refuse the call, raise an `Err` with a case of
        `method-error` in wit/types.wit."""
        if name != "greet":
            raise Err(MethodError_UnknownMethod())
        log.write(log.Level.INFO, "greeted", [("with", payload)])
        try:
            twin.report(json.dumps({"lastGreeted": clock.now_rfc3339()}))
        except Err as error:  # an error of the host, not a case of `method-error`
            raise Err(MethodError_Failed(f"the report was refused: {error.value}"))
        return Response(200, json.dumps({"hello": json.loads(payload)}))
