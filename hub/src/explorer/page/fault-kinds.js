// The steps and effects of faults, as in `docs/hub.md`, with what the form asks for each.

const BY_HUB = ["subscribe", "acknowledge", "method", "birth", "probe", "twin-get", "twin-report", "desired", "cloud-to-device", "certificate-request", "certificate-answer", "dps-subscribe", "dps-register", "dps-status"];
const BY_DEVICE = ["answer", "probe-ack", "message"];
const CONNECTS = ["connect", "dps-connect"];
const LOSABLE = [...BY_HUB, ...BY_DEVICE];
const PACKETS = [...CONNECTS, ...LOSABLE];
const REGISTRATIONS = ["dps-register", "dps-status"];

const REASONS = [["1", "1: protocol version"], ["2", "2: client id"], ["3", "3: hub not available"], ["4", "4: user name or password"], ["5", "5: not authorised"]];

/**
 * Effects by name: a sentence about each, the steps at which it is possible, `isImmediate` if it
 * happens without a step, and the labels of the further fields that it has. `device` is a label
 * only if the effect needs a device.
 */
export const EFFECTS = {
  "delay": { says: "The packet and all that follow on its connection are late.", steps: [...PACKETS, "request"], ms: "Delay in milliseconds" },
  "drop-before": { says: "The connection ends before the packet is sent or processed.", steps: PACKETS },
  "drop-after": { says: "The packet is sent or processed; then the connection ends.", steps: PACKETS },
  "lose": { says: "The packet is lost.", steps: LOSABLE },
  "reorder": { says: "The packet is late, and others overtake it.", steps: BY_HUB, ms: "Delay in milliseconds" },
  "duplicate": { says: "The packet is sent twice.", steps: BY_HUB },
  "half-open": { says: "The hub is silent without closing the connection, and then drops it.", steps: PACKETS, isImmediate: true, ms: "Silence in milliseconds" },
  "throttle": { says: "The answer is 429: too many requests.", steps: ["twin-get", "twin-report", "request", "certificate-request", ...REGISTRATIONS] },
  "refuse": { says: "The connection is refused with a return code.", steps: CONNECTS, codes: REASONS },
  "conflict": { says: "The answer is 409: a conflict.", steps: ["certificate-request", ...REGISTRATIONS] },
  "server-error": { says: "The answer is 500, or 503 to a request for a certificate.", steps: ["certificate-request", ...REGISTRATIONS] },
  "broken-body": { says: "The body of the answer is cut in half.", steps: ["certificate-answer", ...REGISTRATIONS] },
  "assigning": { says: "The answer is that the registration is still in progress.", steps: ["dps-status"] },
  "disable": { says: "The answer is regular, and the device is disabled at the hub.", steps: ["dps-status"] },
  "stale-nonce": { says: "The answer has the nonce of another connection, so the device is not admitted.", steps: ["birth"] },
  "reject-csr": { says: "The certificate signing request is refused.", steps: ["certificate-answer"] },
  "expired-chain": { says: "The issued certificate has expired.", steps: ["certificate-answer", "dps-register"] },
  "untrusted-chain": { says: "The issued certificate is that of an authority which the hub does not trust.", steps: ["certificate-answer", "dps-register"] },
  "drop": { says: "The connection of the device ends now.", isImmediate: true },
  "disconnect": { says: "The connection of the device ends now; with MQTT 5, after a DISCONNECT with a reason code.", isImmediate: true, code: "Reason code: 0, or from 128" },
  "expire-token": { says: "The connection of the device ends now, and for a minute only a newer token is accepted.", isImmediate: true },
  "restart": { says: "Every connection ends now, and new ones are refused for a time.", isImmediate: true, forEveryDevice: true, ms: "Downtime in milliseconds", forgets: ["nothing", "sessions", "twins"] },
};

/** The packets and requests at each step. */
export const STEPS = {
  "connect": "a device's CONNECT",
  "subscribe": "the answer to a subscription",
  "acknowledge": "the PUBACK to a device",
  "method": "a method on its way to the device",
  "answer": "the device's answer to a method",
  "birth": "a birth of MQTT 5",
  "probe": "a probe of MQTT 5",
  "probe-ack": "the answer to a probe",
  "twin-get": "the twin on its way to the device",
  "twin-report": "the answer to reported properties",
  "desired": "a change of desired properties",
  "cloud-to-device": "a message to the device",
  "message": "telemetry of a device",
  "request": "a request to the REST API",
  "certificate-request": "the first answer to a request for a certificate",
  "certificate-answer": "the final answer to a request for a certificate",
  "dps-connect": "a device's CONNECT to DPS",
  "dps-subscribe": "the SUBACK of DPS",
  "dps-register": "the answer to a registration",
  "dps-status": "the answer to a poll of a registration",
};

/** Returns the details of a fault that is set, in words. */
export function details({ effect, ms, code, after, times, lasting_ms: lasting }) {
  const often = times === 1 ? "once" : `${times} times`;
  const seconds = Math.ceil(lasting / 1000);
  return [
    ms === undefined ? null : `${ms} ms ${effect === "half-open" ? "silent" : "late"}`,
    code === undefined ? null : `return code ${code}`,
    after > 0 ? `after ${after} that ${after === 1 ? "works" : "work"}` : null,
    often,
    `within ${seconds} s of being set`,
  ].filter(Boolean).join(", ");
}
