// The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
// like guest-reboot, which is written in Rust.

import { nowRfc3339, sleepMs } from 'device:behaviour/clock@0.1.2';
import { write } from 'device:behaviour/log@0.1.2';
import { reportAndWait } from 'device:behaviour/twin@0.1.2';
import type { Methods } from 'device:behaviour/methods@0.1.2';
import type { HostError, MethodError } from 'device:behaviour/types@0.1.2';

import { isObject, readSettings, seconds } from './settings';

export const methods: Methods = {
  invoke(name, payload) {
    if (name !== 'rebootDevice') {
      throw { tag: 'unknown-method' } satisfies MethodError;
    }
    const settings = readSettings();
    const delay = requestedDelay(payload) ?? settings.delay;

    write('info', 'Rebooting device', []);
    wait(delay);
    write('info', 'Device rebooted', []);
    write('info', report(settings.patch(nowRfc3339())), []);
    return { status: 200, payload: '{"Response": "This is the response from the device"}' };
  },
};

/** Returns the delay in the payload, if any. Payloads that are not objects have none. */
function requestedDelay(payload: string): number | undefined {
  const requested: unknown = JSON.parse(payload);
  if (!isObject(requested) || !Object.hasOwn(requested, 'delaySeconds')) {
    return undefined;
  }
  return seconds(requested.delaySeconds, (reason): MethodError => {
    return { tag: 'invalid-payload', val: `delaySeconds: ${reason}` };
  });
}

function wait(delay: number) {
  try {
    sleepMs(Math.trunc(delay * 1000));
  } catch (thrown) {
    throw failed(`reboot: ${describe((thrown as Thrown<HostError>).payload)}`);
  }
}

/** Reports the patch, and returns the log message about the result. */
function report(patch: object): string {
  try {
    reportAndWait(JSON.stringify(patch), 5000);
    return 'Device twins updated with latest rebootTime';
  } catch (thrown) {
    const error = (thrown as Thrown<HostError>).payload;
    if (error.tag === 'offline' || error.tag === 'timeout') {
      return 'Device twins will be updated when the hub answers again';
    }
    throw failed(`reported properties: ${describe(error)}`);
  }
}

function failed(val: string): MethodError {
  return { tag: 'failed', val };
}

function describe(error: HostError): string {
  return 'val' in error && typeof error.val === 'string' ? `${error.tag}: ${error.val}` : error.tag;
}
