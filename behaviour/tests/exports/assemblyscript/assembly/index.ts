// Uses every interface and has every optional export, as ../../cases expects.

import {
  clock, config, context, InvokeResult, JobError, jobs, Json, log, metrics, MethodError, Pair, power, Response, Some, state,
  telemetry, twin,
} from "../gen/behaviour";

export function invoke(name: string, payload: Json): InvokeResult {
  if (name == "host") return InvokeResult.ok(new Response(200, quoted(host(payload))));
  if (name == "nothing") return InvokeResult.ok(new Response(204));
  if (name == "invalid") return InvokeResult.err(MethodError.invalidPayload(payload));
  if (name == "busy") return InvokeResult.err(MethodError.busy(new Some<u32>(7)));
  if (name == "failed") return InvokeResult.err(MethodError.failed(twin.report("[]")!.toString()));
  if (name == "other") return InvokeResult.err(MethodError.other(""));
  return InvokeResult.err(MethodError.unknownMethod());
}

export function run(name: string, payload: Json): JobError | null {
  if (name == "later") return JobError.retry(new Some<u32>(5000));
  if (name == "some-time") return JobError.retry();
  if (name == "never") return JobError.reject(payload);
  if (name == "odd") return JobError.other("odd");
  const outcome = (<i32>jobs.bootOutcomeOfCurrent()).toString() + " " + context.attempt().toString();
  log.write(log.Level.Debug, name, [new Pair(payload, outcome)]);
  return null;
}

export function changed(patch: Json, version: u64): JobError | null {
  log.write(log.Level.Info, patch, [new Pair("version", version.toString())]);
  return null;
}

export function start(previous: string | null): string | null {
  return previous !== null ? "not after " + previous : null;
}

export function stop(): void {
  log.write(log.Level.Warn, "stopped");
}

let lines = "";

function line(values: string[]): void {
  lines += values.join(" ") + "\n";
}

/** One line about each answer of the host. */
function host(payload: Json): string {
  log.write(log.Level.Error, "a", [new Pair("b", "c"), new Pair("ü", "")]);
  line([
    context.pluginName(), context.deviceId(), context.callId(), context.remainingMs().toString(),
    context.attempt().toString(),
  ]);
  clock.sleepMs(1500);
  line([clock.nowRfc3339(), clock.nowMs().toString()]);
  line([or(config.get("text")), or(config.get("missing"))]);
  const entries = config.entries();
  for (let i = 0; i < entries.length; i++) line([entries[i].key + "=" + entries[i].value]);
  line([twin.reportAndWait('{"a":1}', 1000).value.toString()]);
  const desired = twin.desired().value!, reported = twin.reported().value!;
  line([desired.body, desired.version.toString(), reported.body, reported.version.toString()]);
  telemetry.send(octets(payload), "application/json", [new Pair("x", "y")]);
  state.set("k1", octets("one"));
  state.set("k2", octets(""));
  line([value("k1"), value("k2"), value("k3")]);
  line([yes(state.swap("k1", octets("two"), null).value), yes(state.swap("k1", octets("one"), octets("1")).value)]);
  line([yes(state.swap("k3", null, octets("three")).value), yes(state.swap("k2", octets(""), null).value)]);
  const keys = state.keys("k", 9).value;
  line([keys[0], keys[1], keys.length.toString()]);
  state.delete_("k1");
  const job = jobs.afterDelay("first", "1", 2000).value;
  jobs.afterBoot("second", "2", 60000);
  jobs.afterResponse("third", "3");
  line([job, yes(jobs.cancel("none").value), yes(jobs.cancel(job).value)]);
  line([power.requestReboot(10, "because") === null ? "ok" : "not"]);
  line([power.requestReboot(10, "again")!.toString()]);
  metrics.add("opened", 2, [new Pair("door", "front")]);
  metrics.add("opened", 0.5, [new Pair("door", "front")]);
  metrics.set("heat", -1.5);
  metrics.setBounds("wait_seconds", [0.5, 1]);
  metrics.observe("wait_seconds", 0.25);
  line([or(context.traceParent())]);
  return lines;
}

function octets(text: string): Uint8Array {
  return Uint8Array.wrap(String.UTF8.encode(text));
}

function value(key: string): string {
  const found = state.get(key).value;
  return found !== null ? String.UTF8.decode(found.buffer) : "null";
}

function or(text: string | null): string {
  return text !== null ? text : "null";
}

function yes(value: bool): string {
  return value ? "true" : "false";
}

function quoted(text: string): Json {
  return '"' + text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n") + '"';
}
