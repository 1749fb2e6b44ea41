"""Uses every interface and has every optional export, as ../cases expects."""

import json

import wit_world.exports
from componentize_py_types import Err
from wit_world.imports import clock, config, context, jobs, log, metrics, power, state, telemetry, twin
from wit_world.imports.types import (
    JobError_Other,
    JobError_Reject,
    JobError_Retry,
    MethodError_Busy,
    MethodError_Failed,
    MethodError_InvalidPayload,
    MethodError_Other,
    MethodError_UnknownMethod,
    Response,
)


class Methods(wit_world.exports.Methods):
    def invoke(self, name: str, payload: str) -> Response:
        match name:
            case "host":
                return Response(200, json.dumps(host(payload)))
            case "nothing":
                return Response(204, None)
            case "invalid":
                raise Err(MethodError_InvalidPayload(payload))
            case "busy":
                raise Err(MethodError_Busy(7))
            case "failed":
                raise Err(MethodError_Failed(refused(lambda: twin.report("[]"))))
            case "other":
                raise Err(MethodError_Other(""))
        raise Err(MethodError_UnknownMethod())


class Deferred(wit_world.exports.Deferred):
    def run(self, name: str, payload: str) -> None:
        match name:
            case "later":
                raise Err(JobError_Retry(5000))
            case "some-time":
                raise Err(JobError_Retry(None))
            case "never":
                raise Err(JobError_Reject(payload))
            case "odd":
                raise Err(JobError_Other("odd"))
        fields = f"{jobs.boot_outcome_of_current().value} {context.attempt()}"
        log.write(log.Level.DEBUG, name, [(payload, fields)])


class Desired(wit_world.exports.Desired):
    def changed(self, patch: str, version: int) -> None:
        log.write(log.Level.INFO, patch, [("version", str(version))])


class Lifecycle(wit_world.exports.Lifecycle):
    def start(self, previous_version: str | None) -> None:
        if previous_version is not None:
            raise Err(f"not after {previous_version}")

    def stop(self) -> None:
        log.write(log.Level.WARN, "stopped", [])


def host(payload: str) -> str:
    """Returns one line about each answer of the host."""
    lines: list[str] = []

    def line(*values: object) -> None:
        lines.append(" ".join(shown(value) for value in values) + "\n")

    log.write(log.Level.ERROR, "a", [("b", "c"), ("ü", "")])
    line(context.plugin_name(), context.device_id(), context.call_id(), context.remaining_ms(), context.attempt())
    clock.sleep_ms(1500)
    line(clock.now_rfc3339(), clock.now_ms())
    line(config.get("text"), config.get("missing"))
    for key, value in config.entries():
        line(f"{key}={value}")
    line(twin.report_and_wait('{"a":1}', 1000))
    wanted, reported = twin.desired(), twin.reported()
    line(wanted.body, wanted.version, reported.body, reported.version)
    telemetry.send(payload.encode(), "application/json", [("x", "y")])
    state.set("k1", b"one")
    state.set("k2", b"")
    line(state.get("k1"), state.get("k2"), state.get("k3"))
    line(state.swap("k1", b"two", None), state.swap("k1", b"one", b"1"))
    line(state.swap("k3", None, b"three"), state.swap("k2", b"", None))
    keys = state.keys("k", 9)
    line(keys[0], keys[1], len(keys))
    state.delete("k1")
    job = jobs.after_delay("first", "1", 2000)
    jobs.after_boot("second", "2", 60000)
    jobs.after_response("third", "3")
    line(job, jobs.cancel("none"), jobs.cancel(job))
    power.request_reboot(10, "because")
    line("ok")
    line(refused(lambda: power.request_reboot(10, "again")))
    metrics.add("opened", 2, [("door", "front")])
    metrics.add("opened", 0.5, [("door", "front")])
    metrics.set("heat", -1.5, [])
    metrics.set_bounds("wait_seconds", [0.5, 1])
    metrics.observe("wait_seconds", 0.25, [])
    line(context.trace_parent())
    return "".join(lines)


def shown(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case bytes():
            return value.decode()
    return str(value)


def refused(call) -> str:
    """Returns the case and the text of an error of the host."""
    try:
        call()
    except Err as error:
        case = type(error.value).__name__.removeprefix("Error_")
        words = "".join(f" {c.lower()}" if c.isupper() else c for c in case).strip()
        return f"{words}: {error.value.value}"
    return "not refused"
