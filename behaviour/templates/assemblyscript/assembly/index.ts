// Answers the method `greet` with what it was sent, and tells the twin when.

import { Answer, clock, handle, Json, log, Pair, twin } from "./behaviour";

// What the host calls.
export { cabi_realloc, methods__invoke } from "./behaviour";

// `payload` is JSON text. To refuse is to return one of the refusals of `Answer`.
function invoke(name: string, payload: Json): Answer {
  if (name != "greet") return Answer.unknownMethod();
  log.write(log.Level.Info, "greeted", [new Pair("with", payload)]);
  const error = twin.report('{"lastGreeted":"' + clock.nowRfc3339() + '"}');
  if (error !== null) return Answer.failed(error.toString());
  return Answer.response(200, '{"hello":' + payload + "}");
}

// Last, since a variable of this file is there only behind its declaration.
handle(invoke);
