// The wrapper of a plugin's module. It reports what the engine would not: a missing
// export when the plugin is built, and unexpected exceptions in the log.

// These modules run before the plugin's own.
import './text.js';
import { begin } from './engine.js';
import * as plugin from 'PLUGIN_ENTRY';
import { write } from 'device:behaviour/log@0.1.0';

export * from 'PLUGIN_ENTRY';

if (typeof plugin.methods?.invoke !== 'function') {
  throw new Error('the module exports no `methods` with a function `invoke`');
}

// The cases that may be thrown, with checks of their payloads.
const text = (val) => typeof val === 'string';
const pause = (val) => val == null || (Number.isInteger(val) && val >= 0 && val < 2 ** 32);
const methodError = { 'invalid-payload': text, 'unknown-method': () => true, busy: pause, failed: text, other: text };
const jobError = { retry: pause, reject: text, other: text };
const caseOf = (cases) => (thrown) => Object.hasOwn(cases, thrown?.tag ?? '') && cases[thrown.tag](thrown.val);

const failed = (why) => ({ tag: 'failed', val: why });
const other = (why) => ({ tag: 'other', val: why });
const bare = (why) => why;

export const methods = { invoke: told(plugin.methods, 'invoke', caseOf(methodError), failed, checkResponse) };
export const deferred = plugin.deferred && { run: told(plugin.deferred, 'run', caseOf(jobError), other) };
export const desired = plugin.desired && { changed: told(plugin.desired, 'changed', caseOf(jobError), other) };
export const lifecycle = plugin.lifecycle && {
  start: told(plugin.lifecycle, 'start', text, bare),
  stop: told(plugin.lifecycle, 'stop', () => false, bare),
};

// Wraps a function of the plugin so that it throws valid refusals only: `meant`
// recognises them, and `accident` makes one of any other exception.
function told(owner, name, meant, accident, check = () => {}) {
  return (...sent) => {
    begin();
    try {
      const given = owner[name](...sent);
      if (typeof given?.then === 'function') {
        throw new TypeError(`\`${name}\` returned a promise, and the host does not wait for promises`);
      }
      check(given);
      return given;
    } catch (thrown) {
      if (meant(thrown)) {
        throw thrown;
      }
      const why = reason(thrown);
      write('error', why, thrown?.stack ? [['stack', thrown.stack.trim()]] : []);
      throw accident(why);
    }
  };
}

function checkResponse(given) {
  const { status, payload } = given ?? {};
  if (!Number.isInteger(status) || status < 0 || status > 0xffff) {
    throw new TypeError('`invoke` returned no `{ status, payload }` with a number from 0 to 65535 as status');
  }
  if (payload != null && typeof payload !== 'string') {
    throw new TypeError('`invoke` returned a payload that is not a text; use JSON.stringify');
  }
}

function reason(thrown) {
  // An error of the host has no message; its payload names the case.
  const said = thrown?.payload ?? thrown;
  return typeof said === 'object' && !(said instanceof Error) ? JSON.stringify(said) : String(said);
}
