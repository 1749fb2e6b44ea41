"""The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
like guest-reboot, which is written in Rust."""

import json

import wit_world.exports
from componentize_py_types import Err
from wit_world.imports import clock, log, twin
from wit_world.imports.types import (
    Error_Offline,
    Error_Timeout,
    MethodError_Failed,
    MethodError_InvalidPayload,
    MethodError_UnknownMethod,
    Response,
)

from settings import Settings, Wrong, seconds


class Methods(wit_world.exports.Methods):
    def invoke(self, name: str, payload: str) -> Response:
        if name != "rebootDevice":
            raise Err(MethodError_UnknownMethod())
        try:
            settings = Settings.read()
        except Wrong as reason:
            raise failed("configuration", reason)
        delay = requested_delay(payload)
        if delay is None:
            delay = settings.delay

        info("Rebooting device")
        try:
            clock.sleep_ms(int(delay * 1000))
        except Err as error:
            raise failed("reboot", describe(error.value))
        info("Device rebooted")

        info(report(settings.patch(clock.now_rfc3339())))
        return Response(200, '{"Response": "This is the response from the device"}')


def requested_delay(payload: str) -> float | None:
    """Returns the delay in the payload, if any. Payloads that are not objects have none."""
    requested = json.loads(payload)
    if not isinstance(requested, dict) or "delaySeconds" not in requested:
        return None
    try:
        return seconds(requested["delaySeconds"])
    except Wrong as reason:
        raise Err(MethodError_InvalidPayload(f"delaySeconds: {reason}"))


def report(patch: dict) -> str:
    """Reports the patch, and returns the log message about the result."""
    try:
        twin.report_and_wait(json.dumps(patch), 5000)
        return "Device twins updated with latest rebootTime"
    except Err as error:
        if isinstance(error.value, (Error_Offline, Error_Timeout)):
            return "Device twins will be updated when the hub answers again"
        raise failed("reported properties", describe(error.value))


def info(message: str) -> None:
    log.write(log.Level.INFO, message, [])


def failed(what: str, reason: object) -> Err:
    return Err(MethodError_Failed(f"{what}: {reason}"))


def describe(error: object) -> str:
    kind = type(error).__name__.removeprefix("Error_")
    value = getattr(error, "value", None)
    return f"{kind}: {value}" if isinstance(value, str) else kind
