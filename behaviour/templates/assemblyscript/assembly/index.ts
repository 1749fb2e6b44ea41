// Answers the method `greet` with its payload, and reports the time to the twin.
//
// `behaviour build` generates gen/behaviour.ts from wit/.

import { clock, InvokeResult, Json, log, MethodError, Pair, Response, twin } from "../gen/behaviour";

// `payload` is JSON text. To refuse the call, return a case of `MethodError`.
export function invoke(name: string, payload: Json): InvokeResult {
  if (name != "greet") return InvokeResult.err(MethodError.unknownMethod());
  log.write(log.Level.Info, "greeted", [new Pair("with", payload)]);
  const error = twin.report('{"lastGreeted":"' + clock.nowRfc3339() + '"}');
  if (error !== null) return InvokeResult.err(MethodError.failed(error.toString()));
  return InvokeResult.ok(new Response(200, '{"hello":' + payload + "}"));
}
