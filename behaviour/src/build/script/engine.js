// Globals that scripts expect, but that this engine lacks or implements with an operating
// system, which a plugin does not have. They use the interfaces of the host. During the
// build, when there is no host, they use the engine's clock and random numbers.

import { nowMs } from 'lent:clock';
import { callId } from 'lent:context';
import { write } from 'lent:log';
import { describe } from './values.js';

let called = false;

// Switches the globals to the interfaces of the host. It runs at the start of each call.
export function begin() {
  called = true;
}

const EngineDate = Date;
globalThis.Date = new Proxy(EngineDate, {
  construct(_date, given, target) {
    const time = called && given.length === 0 ? [nowMs()] : given;
    return Reflect.construct(EngineDate, time, target);
  },
  apply: () => new Date().toString(),
  get: (_date, key) => (called && key === 'now' ? nowMs : EngineDate[key]),
});
EngineDate.prototype.constructor = Date;

// The state of the engine's generator is part of the snapshot, so all calls would get the
// same numbers. This generator is mulberry32, which is not suitable for secrets.
const engineRandom = Math.random;
let state;
Math.random = () => {
  if (!called) {
    return engineRandom();
  }
  state ??= [...`${callId()} ${nowMs()}`].reduce((sum, letter) => Math.imul(sum ^ letter.codePointAt(0), 16777619), 2166136261);
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
};

const line = (level) => (...values) => {
  if (called) {
    write(level, values.map(describe).join(' '), []);
  }
};
globalThis.console = {
  debug: line('debug'),
  log: line('info'),
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
};
