// What a script takes for granted and this engine has not, or would have from a
// system that is not there, at which it stops without a word: here it is made of
// what the host lends. Until the first call the host lends nothing, and the
// engine's own is good: the clock and the dice of whoever builds the plugin.

import { nowMs } from 'device:behaviour/clock@0.1.0';
import { callId } from 'device:behaviour/context@0.1.0';
import { write } from 'device:behaviour/log@0.1.0';

let called = false;

// To be called at the beginning of each call.
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

// Else all calls would throw the same dice: those of the moment of the build. It
// is mulberry32, which is good for spreading things and no good for secrets.
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
    write(level, what.map((it) => (typeof it === 'object' ? JSON.stringify(it) : String(it))).join(' '), []);
  }
};
globalThis.console = {
  debug: line('debug'),
  log: line('info'),
  info: line('info'),
  warn: line('warn'),
  error: line('error'),
};
