"""Answers the method `fetch` with the response to a GET request to the URL in its payload."""

import json

import wit_world.exports
from componentize_py_types import Err
from http_client import send
from wit_world.imports.device_behaviour_types import (
    MethodError_Failed,
    MethodError_InvalidPayload,
    MethodError_UnknownMethod,
    Response,
)
from wit_world.imports.wasi_http_types import Method_Get


class Methods(wit_world.exports.Methods):
    def invoke(self, name: str, payload: str) -> Response:
        """`payload` is JSON text. To refuse the call, raise an `Err` with a case of
        `method-error` in wit/types.wit."""
        if name != "fetch":
            raise Err(MethodError_UnknownMethod())
        url = json.loads(payload)
        if not isinstance(url, str):
            raise Err(MethodError_InvalidPayload("expected a URL in quotes"))
        try:
            response = send(Method_Get(), url, {"accept": "application/json"})
        except ConnectionError as error:
            raise Err(MethodError_Failed(str(error)))
        # The body must be JSON, since it is the answer's payload.
        return Response(response.status, response.body.decode())
