"""Sends HTTP requests."""

from dataclasses import dataclass
from urllib.parse import urlsplit

from componentize_py_types import Err
from wit_world.imports import outgoing_handler
from wit_world.imports.streams import StreamError_Closed
from wit_world.imports.wasi_http_types import (
    ErrorCode_InternalError,
    Fields,
    Method,
    OutgoingBody,
    OutgoingRequest,
    Scheme_Http,
    Scheme_Https,
)

CHUNK = 4096
"""The host accepts this many bytes of a body at once."""


@dataclass
class Response:
    status: int
    headers: dict[str, bytes]
    body: bytes


def send(method: Method, url: str, headers: dict[str, str] = {}, body: bytes = b"") -> Response:
    """Sends a request to an absolute URL, and waits for the response. Raises a
    `ConnectionError` with the host's reason if there is none. The host refuses URLs whose
    hosts are not in `hosts` of host.toml."""
    parts = urlsplit(url)
    schemes = {"http": Scheme_Http, "https": Scheme_Https}
    if parts.scheme not in schemes or not parts.netloc:
        raise ConnectionError(f"`{url}` is not an HTTP URL")
    try:
        fields = Fields.from_list([(name, value.encode()) for name, value in headers.items()])
        request = OutgoingRequest(fields)
        request.set_method(method)
        request.set_scheme(schemes[parts.scheme]())
        request.set_authority(parts.netloc)
        request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        outgoing = request.body()
        future = outgoing_handler.handle(request, None)
        _write(outgoing, body)
        with future.subscribe() as arrival:
            arrival.block()
        arrived = future.get().value
        if isinstance(arrived, Err):
            raise arrived
        response = arrived.value
    except Err as error:
        raise ConnectionError(_reason(error.value)) from None
    with response.consume() as incoming, incoming.stream() as stream:
        return Response(response.status(), dict(response.headers().entries()), _read(stream))


def _write(outgoing: OutgoingBody, body: bytes) -> None:
    try:
        # The body ends only after its stream.
        with outgoing.write() as stream:
            for at in range(0, len(body), CHUNK):
                stream.blocking_write_and_flush(body[at : at + CHUNK])
        OutgoingBody.finish(outgoing, None)
    except Err:
        pass  # A refused request has no body; the response has the reason.


def _read(stream) -> bytes:
    body = b""
    while True:
        try:
            body += stream.blocking_read(65536)
        except Err as end:
            if isinstance(end.value, StreamError_Closed):
                return body
            raise ConnectionError("the response is incomplete") from None


def _reason(error) -> str:
    """Returns the host's reason. It refuses a request with a text, except for an untrusted
    certificate."""
    if isinstance(error, ErrorCode_InternalError) and error.value is not None:
        return error.value
    return type(error).__name__.removeprefix("ErrorCode_")
