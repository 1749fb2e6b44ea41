/// Answers the method `greet` with its payload, and reports the time to the twin.
///
/// `behaviour build` generates gen/behaviour.d from wit/.
module plugin;

import behaviour;

/// `payload` is JSON text. To refuse the call, return a case of `MethodError`.
Result!(Response, MethodError) invoke(string name, Json payload)
{
    alias Outcome = typeof(return);
    if (name != "greet")
        return Outcome(MethodError.unknownMethod);
    log.write(log.Level.info, "greeted", ["with", payload]);
    auto reported = twin.report(text(`{"lastGreeted":"`, clock.nowRfc3339(), `"}`));
    if (reported.failed)
        return Outcome(MethodError.failed(reported.error.describe));
    return Outcome(Response(200, some(text(`{"hello":`, payload, `}`))));
}
