## Uses every interface and has every optional export, as ../cases expects.

import std/[json, strutils]
import gen/[clock, config, context, jobs, log, metrics, power, state, telemetry, twin, types]

proc shown(text: Option[string]): string = text.get("null")

proc host(payload: string): string =
  ## Returns one line about each answer of the host.
  var lines: seq[string]
  proc line(values: varargs[string, `$`]) = lines.add values.join(" ") & "\n"

  log.write(Level.error, "a", {"b": "c", "ü": ""})
  line context.pluginName(), context.deviceId(), context.callId(), context.remainingMs(), context.attempt()
  clock.sleepMs(1500)
  line clock.nowRfc3339(), clock.nowMs()
  line shown config.get("text"), shown config.get("missing")
  for (key, value) in config.entries(): line key & "=" & value
  line twin.reportAndWait("""{"a":1}""", 1000)
  let (wanted, reported) = (twin.desired(), twin.reported())
  line wanted.body, wanted.version, reported.body, reported.version
  telemetry.send(payload, "application/json", {"x": "y"})
  state.set("k1", "one")
  state.set("k2", "")
  line shown state.get("k1"), shown state.get("k2"), shown state.get("k3")
  line state.swap("k1", some("two"), none(string)), state.swap("k1", some("one"), some("1"))
  line state.swap("k3", none(string), some("three")), state.swap("k2", some(""), none(string))
  let keys = state.keys("k", 9)
  line keys[0], keys[1], keys.len
  state.delete("k1")
  let job = jobs.afterDelay("first", "1", 2000)
  discard jobs.afterBoot("second", "2", 60000)
  discard jobs.afterResponse("third", "3")
  line job, jobs.cancel("none"), jobs.cancel(job)
  power.requestReboot(10, "because")
  line "ok"
  try:
    power.requestReboot(10, "again")
  except HostError as error:
    line error.error
  metrics.add("opened", 2, {"door": "front"})
  metrics.add("opened", 0.5, {"door": "front"})
  metrics.set("heat", -1.5)
  metrics.setBounds("wait_seconds", [0.5, 1.0])
  metrics.observe("wait_seconds", 0.25)
  line shown context.traceParent()
  lines.join

proc invoke*(name: string, payload: Json): Response =
  case name
  of "host": Response(status: 200, payload: some($ %host(payload)))
  of "nothing": Response(status: 204)
  of "invalid": refuse MethodError.invalidPayload(payload)
  of "busy": refuse MethodError.busy(some(7'u32))
  of "failed":
    try:
      twin.report("[]")
      Response(status: 200)
    except HostError as error:
      refuse MethodError.failed($error.error)
  of "other": refuse MethodError.other("")
  else: refuse MethodError.unknownMethod

proc run*(name: string, payload: Json) =
  case name
  of "later": refuse JobError.retry(some(5000'u32))
  of "some-time": refuse JobError.retry
  of "never": refuse JobError.reject(payload)
  of "odd": refuse JobError.other("odd")
  else:
    let fields = $ord(jobs.bootOutcomeOfCurrent()) & " " & $context.attempt()
    log.write(Level.debug, name, {payload: fields})

proc changed*(patch: Json, version: uint64) =
  log.write(Level.info, patch, {"version": $version})

proc start*(previousVersion: Option[string]) =
  if previousVersion.isSome:
    refuse "not after " & previousVersion.get

proc stop*() = log.write(Level.warn, "stopped")
