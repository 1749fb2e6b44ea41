# Answers the method `greet` with its payload, and reports the time to the twin.
#
# `behaviour build` generates the modules in `gen` from `wit`.

import std/json
import gen/[clock, log, twin, types]

proc invoke*(name: string, payload: Json): Response =
  ## `payload` is JSON text. To refuse the call, `refuse` a case of `MethodError`.
  if name != "greet":
    refuse MethodError.unknownMethod
  log.write(Level.info, "greeted", {"with": payload})
  twin.report($ %*{"lastGreeted": clock.nowRfc3339()})
  Response(status: 200, payload: some("{\"hello\":" & payload & "}"))
