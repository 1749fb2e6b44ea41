// Uses every interface and has every optional export, as ../cases expects.

import * as clock from 'device:behaviour/clock@0.1.2';
import * as config from 'device:behaviour/config@0.1.2';
import * as context from 'device:behaviour/context@0.1.2';
import * as jobs from 'device:behaviour/jobs@0.1.2';
import { write } from 'device:behaviour/log@0.1.2';
import * as metrics from 'device:behaviour/metrics@0.1.2';
import * as power from 'device:behaviour/power@0.1.2';
import * as state from 'device:behaviour/state@0.1.2';
import { send } from 'device:behaviour/telemetry@0.1.2';
import * as twin from 'device:behaviour/twin@0.1.2';
import type { Deferred } from 'device:behaviour/deferred@0.1.2';
import type { Desired } from 'device:behaviour/desired@0.1.2';
import type { Lifecycle } from 'device:behaviour/lifecycle@0.1.2';
import type { Methods } from 'device:behaviour/methods@0.1.2';
import type { HostError, JobError, MethodError } from 'device:behaviour/types@0.1.2';

export const methods: Methods = {
  invoke(name, payload) {
    switch (name) {
      case 'host':
        return { status: 200, payload: JSON.stringify(host(payload)) };
      case 'nothing':
        return { status: 204 };
      case 'invalid':
        throw { tag: 'invalid-payload', val: payload } satisfies MethodError;
      case 'busy':
        throw { tag: 'busy', val: 7 } satisfies MethodError;
      case 'failed':
        throw { tag: 'failed', val: refused(() => twin.report('[]')) } satisfies MethodError;
      case 'other':
        throw { tag: 'other', val: '' } satisfies MethodError;
      default:
        throw { tag: 'unknown-method' } satisfies MethodError;
    }
  },
};

export const deferred: Deferred = {
  run(name, payload) {
    switch (name) {
      case 'later':
        throw { tag: 'retry', val: 5000 } satisfies JobError;
      case 'some-time':
        throw { tag: 'retry', val: null } satisfies JobError;
      case 'never':
        throw { tag: 'reject', val: payload } satisfies JobError;
      case 'odd':
        throw { tag: 'other', val: 'odd' } satisfies JobError;
    }
    const outcomes: jobs.BootOutcome[] = ['not-waited-for', 'rebooted', 'host-restarted-only', 'expired'];
    const outcome = outcomes.indexOf(jobs.bootOutcomeOfCurrent());
    write('debug', name, [[payload, `${outcome} ${context.attempt()}`]]);
  },
};

export const desired: Desired = {
  changed(patch, version) {
    write('info', patch, [['version', String(version)]]);
  },
};

export const lifecycle: Lifecycle = {
  start(previous) {
    if (previous !== null) {
      throw `not after ${previous}`;
    }
  },
  stop() {
    write('warn', 'stopped', []);
  },
};

/** One line about each answer of the host. */
function host(payload: string): string {
  let lines = '';
  const line = (...values: unknown[]) => {
    lines += `${values.map(String).join(' ')}\n`;
  };
  write('error', 'a', [['b', 'c'], ['ü', '']]);
  line(context.pluginName(), context.deviceId(), context.callId(), context.remainingMs(), context.attempt());
  clock.sleepMs(1500);
  line(clock.nowRfc3339(), clock.nowMs());
  line(config.get('text'), config.get('missing'));
  for (const [key, value] of config.entries()) {
    line(`${key}=${value}`);
  }
  line(twin.reportAndWait('{"a":1}', 1000));
  const [wanted, reported] = [twin.desired(), twin.reported()];
  line(wanted.body, wanted.version, reported.body, reported.version);
  send(octets(payload), 'application/json', [['x', 'y']]);
  state.set('k1', octets('one'));
  state.set('k2', octets(''));
  line(value('k1'), value('k2'), value('k3'));
  line(state.swap('k1', octets('two'), null), state.swap('k1', octets('one'), octets('1')));
  line(state.swap('k3', null, octets('three')), state.swap('k2', octets(''), null));
  const keys = state.keys('k', 9);
  line(keys[0], keys[1], keys.length);
  state.delete('k1');
  const job = jobs.afterDelay('first', '1', 2000);
  jobs.afterBoot('second', '2', 60000);
  jobs.afterResponse('third', '3');
  line(job, jobs.cancel('none'), jobs.cancel(job));
  power.requestReboot(10, 'because');
  line('ok');
  line(refused(() => power.requestReboot(10, 'again')));
  metrics.add('opened', 2, [['door', 'front']]);
  metrics.add('opened', 0.5, [['door', 'front']]);
  metrics.set('heat', -1.5, []);
  metrics.setBounds('wait_seconds', [0.5, 1]);
  metrics.observe('wait_seconds', 0.25, []);
  line(context.traceParent());
  return lines;
}

/** The case and the text of an error of the host. */
function refused(call: () => void): string {
  try {
    call();
  } catch (thrown) {
    const error = (thrown as Thrown<HostError>).payload;
    return 'val' in error ? `${error.tag.replace('-', ' ')}: ${error.val}` : error.tag;
  }
  return 'not refused';
}

function octets(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

function value(key: string): string | null {
  const found = state.get(key);
  return found && new TextDecoder().decode(found);
}
