"""Answers the method `fetch` with the response to a GET request to the URL in its payload."""

import json

import wit_world.exports
from componentize_py_types import Err
from wit_world.imports import http
from wit_world.imports.types import (
    MethodError_Failed,
    MethodError_InvalidPayload,
    MethodError_UnknownMethod,
    Response,
)


class Methods(wit_world.exports.Methods):
    def invoke(self, name: str, payload: str) -> Response:
        """`payload` is JSON text. To refuse the call, raise an `Err` with a case of
        `method-error` in wit/types.wit."""
        if name != "fetch":
            raise Err(MethodError_UnknownMethod())
        url = json.loads(payload)
        if not isinstance(url, str):
            raise Err(MethodError_InvalidPayload("expected a URL in quotes"))
        headers = [("accept", "application/json")]
        try:
            response = http.send(http.Request("GET", url, headers, b"", None))
        except Err as error:  # its value is a case of `request-error` in wit/http.wit
            raise Err(MethodError_Failed(error.value.value))
        # The body must be JSON, since it is the answer's payload.
        try:
            return Response(response.status, response.body.decode())
        except UnicodeDecodeError:
            raise Err(MethodError_Failed("the response is not text"))
