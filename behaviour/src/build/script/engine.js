// Globals that scripts expect and this engine lacks, or takes from an operating
// system that does not exist. They use the interfaces of the host. During the build
// there is no host, and the engine's own clock and random numbers are used.

import { nowMs } from 'device:behaviour/clock@0.1.0';
import { callId } from 'device:behaviour/context@0.1.0';
import { write } from 'device:behaviour/log@0.1.0';
import { words } from './values.js';

let called = false;

// Called at the start of each call.
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

// Without this, all calls would draw the same numbers as the build did. The generator
// is mulberry32, which is fit for spreading load and unfit for secrets.
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

const line = (level) => (...what) => {
  if (called) {
    write(level, what.map(words).join(' '), []);
  }
};
globalThis.console = {
  debug: line('debug'),
  log: line('info'),
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
};
