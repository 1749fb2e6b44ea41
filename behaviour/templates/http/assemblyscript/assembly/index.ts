// Answers the method `fetch` with the response to a GET request to the URL in its payload.
//
// `behaviour build` generates gen/behaviour.ts from wit/.

import { http, InvokeResult, Json, MethodError, Pair, Response } from "../gen/behaviour";

// `payload` is JSON text. To refuse the call, return a case of `MethodError`.
export function invoke(name: string, payload: Json): InvokeResult {
  if (name != "fetch") return InvokeResult.err(MethodError.unknownMethod());
  if (!payload.startsWith('"')) {
    return InvokeResult.err(MethodError.invalidPayload("expected a URL in quotes"));
  }
  const url = payload.slice(1, -1);
  const headers = [new Pair("accept", "application/json")];
  const sent = http.send(new http.Request("GET", url, headers, new Uint8Array(0), null));
  const error = sent.error;
  if (error !== null) return InvokeResult.err(MethodError.failed(error.toString()));
  const response = sent.value!;
  // The body must be JSON, since it is the answer's payload.
  const body = String.UTF8.decode(response.body.buffer);
  return InvokeResult.ok(new Response(response.status, body));
}
