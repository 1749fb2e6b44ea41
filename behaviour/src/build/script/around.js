// What stands around a plugin's own module, so that what is wrong with it is told:
// a missing export when it is built, and what it throws without meaning to in the
// log. The engine itself would stop without a word.

// These are run before the plugin is for the first time.
import './text.js';
import { begin } from './engine.js';
import * as plugin from 'PLUGIN_ENTRY';
import { write } from 'device:behaviour/log@0.1.0';

export * from 'PLUGIN_ENTRY';

if (typeof plugin.methods?.invoke !== 'function') {
  throw new Error('it exports no `methods` with a function `invoke`');
}

// What may be thrown: each case, and what goes with it.
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

// A function of the plugin, of which all that it throws is what it may throw:
// `meant` knows that, and `accident` makes it of anything else.
function told(owner, name, meant, accident, check = () => {}) {
  return (...sent) => {
    begin();
    try {
      const given = owner[name](...sent);
      if (typeof given?.then === 'function') {
        throw new TypeError(`\`${name}\` gives a promise, for which nobody waits`);
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
    throw new TypeError('`invoke` gives no `{ status, payload }` with a number as its status');
  }
  if (payload != null && typeof payload !== 'string') {
    throw new TypeError('`invoke` gives a payload that is no text: it takes JSON.stringify');
  }
}

function reason(thrown) {
  // What the host refused has no message, but says what it was.
  const said = thrown?.payload ?? thrown;
  return typeof said === 'object' && !(said instanceof Error) ? JSON.stringify(said) : String(said);
}
