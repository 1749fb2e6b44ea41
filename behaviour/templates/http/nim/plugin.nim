# Answers the method `fetch` with the response to a GET request to the URL in its payload.
#
# `behaviour build` generates the modules in `gen` from `wit`.

import std/json
import gen/[http, types]

proc invoke*(name: string, payload: Json): types.Response =
  ## `payload` is JSON text. To refuse the call, `refuse` a case of `MethodError`.
  if name != "fetch":
    refuse MethodError.unknownMethod
  let url = parseJson(payload)
  if url.kind != JString:
    refuse MethodError.invalidPayload("expected a URL in quotes")
  let request = Request(
    `method`: "GET", url: url.getStr, headers: @[("accept", "application/json")])
  try:
    let response = http.send(request)
    # The body must be JSON, since it is the answer's payload.
    result = types.Response(status: response.status, payload: some(response.body))
  except HostRequestError as error:
    refuse MethodError.failed($error.error)
