// The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
// like guest-reboot, which is written in Rust.

import { nowRfc3339, sleepMs } from 'device:behaviour/clock@0.1.2';
import { entries } from 'device:behaviour/config@0.1.2';
import { write } from 'device:behaviour/log@0.1.2';
import { reportAndWait } from 'device:behaviour/twin@0.1.2';

export const methods = {
  invoke(name, payload) {
    if (name !== 'rebootDevice') {
      throw { tag: 'unknown-method' };
    }
    const settings = readSettings();
    const delay = requestedDelay(payload) ?? settings.delay;

    write('info', 'Rebooting device', []);
    host('reboot', () => sleepMs(Math.trunc(delay * 1000)));
    write('info', 'Device rebooted', []);

    const patch = JSON.stringify(settings.patch(nowRfc3339()));
    write('info', report(patch), []);
    return { status: 200, payload: '{"Response": "This is the response from the device"}' };
  },
};

// Checks that a value is a number of seconds from 0 to 300.
function delaySeconds(value, refuse) {
  if (typeof value === 'number' && value >= 0 && value <= 300) {
    return value;
  }
  const text = JSON.stringify(value);
  const found = text.length <= 40 ? text : `a value of ${text.length} bytes`;
  throw refuse(`${found} is not a number from 0 to 300`);
}

// Returns the delay in the payload, if any. Payloads that are not objects have none.
function requestedDelay(payload) {
  const requested = JSON.parse(payload);
  if (requested === null || typeof requested !== 'object' || !Object.hasOwn(requested, 'delaySeconds')) {
    return undefined;
  }
  const refuse = (reason) => ({ tag: 'invalid-payload', val: `delaySeconds: ${reason}` });
  return delaySeconds(requested.delaySeconds, refuse);
}

function readSettings() {
  let delay = 20;
  let path = ['rebootTime'];
  let additional = {};
  for (const [key, text] of entries()) {
    if (key === 'delay_seconds') {
      delay = delaySeconds(parsed(text), (reason) => failed(`configuration: delay_seconds: ${reason}`));
    } else if (key === 'property') {
      path = text.split('.');
      if (!path.every((part) => /^[^$ \p{Cc}]+$/u.test(part))) {
        throw failed(`configuration: property: \`${text}\` is not a list of keys separated by dots`);
      }
    } else if (key === 'report') {
      additional = parsed(text);
      if (additional === null || typeof additional !== 'object' || Array.isArray(additional)) {
        throw failed(`configuration: report: ${text} is not a JSON object`);
      }
    } else {
      throw failed(`configuration: ${key}: unknown setting; expected delay_seconds, property or report`);
    }
  }
  const patch = (time) => nested(additional, path, time);
  patch('now'); // Reports a conflict of `report` with `property` before the reboot.
  return { delay, patch };
}

// Returns a copy of an object with the time at the path.
function nested(object, [key, ...rest], time) {
  const taken = Object.hasOwn(object, key);
  const inner = taken ? object[key] : {};
  if (taken && (rest.length === 0 || inner === null || typeof inner !== 'object' || Array.isArray(inner))) {
    throw failed(`configuration: report: \`${key}\` conflicts with \`property\``);
  }
  return { ...object, [key]: rest.length === 0 ? time : nested(inner, rest, time) };
}

// Reports the patch, and returns the log message about the result.
function report(patch) {
  try {
    reportAndWait(patch, 5000);
    return 'Device twins updated with latest rebootTime';
  } catch ({ payload: error }) {
    if (error.tag === 'offline' || error.tag === 'timeout') {
      return 'Device twins will be updated when the hub answers again';
    }
    throw failed(`reported properties: ${describe(error)}`);
  }
}

// Calls a function of the host. An error of the host fails the plugin's call. The payload
// of the exception is the error of the contract.
function host(what, ask) {
  try {
    return ask();
  } catch ({ payload: error }) {
    throw failed(`${what}: ${describe(error)}`);
  }
}

function failed(reason) {
  return { tag: 'failed', val: reason };
}

function describe(error) {
  return typeof error.val === 'string' ? `${error.tag}: ${error.val}` : error.tag;
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
