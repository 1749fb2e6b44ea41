/// Answers the method `fetch` with the response to a GET request to the URL in its payload.
///
/// `behaviour build` generates gen/behaviour.d from wit/.
module plugin;

import behaviour;

/// `payload` is JSON text. To refuse the call, return a case of `MethodError`.
Result!(Response, MethodError) invoke(string name, Json payload)
{
    alias Outcome = typeof(return);
    if (name != "fetch")
        return Outcome(MethodError.unknownMethod);
    if (payload.length < 2 || payload[0] != '"')
        return Outcome(MethodError.invalidPayload("expected a URL in quotes"));
    string[2][1] headers = [["accept", "application/json"]];
    http.Request request = {method: "GET", url: payload[1 .. $ - 1], headers: headers[]};
    auto sent = http.send(request);
    if (sent.failed)
        return Outcome(MethodError.failed(sent.error.describe));
    // The body must be JSON, since it is the answer's payload.
    return Outcome(Response(sent.value.status, some(sent.value.body)));
}
