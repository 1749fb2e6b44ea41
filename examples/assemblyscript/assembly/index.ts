// The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
// like guest-reboot, which is written in Rust.

import { clock, HostErrorKind, InvokeResult, Json, log, MethodError, Response, twin } from "../gen/behaviour";
import * as json from "./json";
import { noSeconds, seconds, Settings } from "./settings";

export function invoke(name: string, payload: Json): InvokeResult {
  if (name != "rebootDevice") return InvokeResult.err(MethodError.unknownMethod());
  const settings = new Settings();
  const wrong = settings.read();
  if (wrong !== null) return failed(wrong);
  let delay = settings.delay;
  const requested = requestedDelay(payload);
  if (requested !== null) {
    delay = seconds(requested);
    if (isNaN(delay)) return InvokeResult.err(MethodError.invalidPayload("delaySeconds: " + noSeconds(requested)));
  }

  info("Rebooting device");
  const notSlept = clock.sleepMs(<u32>(delay * 1000));
  if (notSlept !== null) return failed("reboot: " + notSlept.toString());
  info("Device rebooted");

  const notReported = twin.reportAndWait(settings.patch(clock.nowRfc3339()), 5000).error;
  if (notReported === null) {
    info("Device twins updated with latest rebootTime");
  } else if (notReported.kind == HostErrorKind.Offline || notReported.kind == HostErrorKind.Timeout) {
    info("Device twins will be updated when the hub answers again");
  } else {
    return failed("reported properties: " + notReported.toString());
  }
  return InvokeResult.ok(new Response(200, '{"Response": "This is the response from the device"}'));
}

/** Returns the delay in the payload, if any. Payloads that are not objects have none. */
function requestedDelay(payload: Json): string | null {
  const found = json.isObject(payload) ? json.find(payload, "delaySeconds") : null;
  return found === null ? null : found.of(payload);
}

function info(message: string): void {
  log.write(log.Level.Info, message);
}

function failed(reason: string): InvokeResult {
  return InvokeResult.err(MethodError.failed(reason));
}
