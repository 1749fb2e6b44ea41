## The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
## like guest-reboot, which is written in Rust.

import std/json
import gen/[clock, log, twin, types]
import settings

proc requestedDelay(payload: string): Option[float] =
  ## Returns the delay in the payload, if any. Payloads that are not objects have none.
  let requested = parseJson(payload)
  if requested.kind == JObject and "delaySeconds" in requested:
    result = seconds(requested["delaySeconds"])
    if result.isNone:
      refuse MethodError.invalidPayload("delaySeconds: is not a number from 0 to 300")

proc info(message: string) = log.write(Level.info, message)

proc invoke*(name: string, payload: Json): Response =
  if name != "rebootDevice":
    refuse MethodError.unknownMethod
  let settings = readSettings()
  let delay = requestedDelay(payload).get(settings.delaySeconds)

  info "Rebooting device"
  try:
    clock.sleepMs(uint32(delay * 1000))
  except HostError as error:
    refuse MethodError.failed("reboot: " & $error.error)
  info "Device rebooted"

  try:
    discard twin.reportAndWait($settings.patch(clock.nowRfc3339()), 5000)
    info "Device twins updated with latest rebootTime"
  except HostError as error:
    if error.error.kind notin {ErrorKind.offline, ErrorKind.timeout}:
      refuse MethodError.failed("reported properties: " & $error.error)
    info "Device twins will be updated when the hub answers again"
  let answer = %*{"Response": "This is the response from the device"}
  Response(status: 200, payload: some($answer))
