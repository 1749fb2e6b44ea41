// The reboot of the tutorial: wait, report the time, answer. It plays a reboot;
// what happens and in which order is guest-reboot's, in another language.

import { Answer, clock, ErrorKind, handle, Json, log, twin } from "./behaviour";
import * as json from "./json";
import { noSeconds, seconds, Settings } from "./settings";

// What the host calls.
export { cabi_realloc, methods__invoke } from "./behaviour";

function invoke(name: string, payload: Json): Answer {
  if (name != "rebootDevice") return Answer.unknownMethod();
  const settings = new Settings();
  const wrong = settings.read();
  if (wrong !== null) return Answer.failed(wrong);
  let delay = settings.delay;
  const asked = askedDelay(payload);
  if (asked !== null) {
    delay = seconds(asked);
    if (isNaN(delay)) return Answer.invalidPayload("delaySeconds: " + noSeconds(asked));
  }

  info("Rebooting device");
  const notSlept = clock.sleepMs(<u32>(delay * 1000));
  if (notSlept !== null) return Answer.failed("reboot: " + notSlept.toString());
  info("Device rebooted");

  const notReported = twin.reportAndWait(settings.patch(clock.nowRfc3339()), 5000).error;
  if (notReported === null) {
    info("Device twins updated with latest rebootTime");
  } else if (notReported.kind == ErrorKind.Offline || notReported.kind == ErrorKind.Timeout) {
    info("Device twins will be updated when the hub answers again");
  } else {
    return Answer.failed("reported properties: " + notReported.toString());
  }
  return Answer.response(200, '{"Response": "This is the response from the device"}');
}

/** Any JSON is a legal payload; only an object can ask for a delay. */
function askedDelay(payload: Json): string | null {
  const found = json.isObject(payload) ? json.find(payload, "delaySeconds") : null;
  return found === null ? null : found.of(payload);
}

function info(message: string): void {
  log.write(log.Level.Info, message);
}

// Last, since a variable of this file is there only behind its declaration.
handle(invoke);
