// The wrapper of a plugin's module. Unlike the engine, it reports a missing export when the
// plugin is built, and writes unexpected exceptions to the log.

// These modules run before the plugin's own.
import './text.js';
import { begin } from './engine.js';
import * as plugin from 'PLUGIN_ENTRY';
import { write } from 'device:behaviour/log@0.1.0';
import { option, record, text, u16, u32, u64, variant, words } from './values.js';

export * from 'PLUGIN_ENTRY';

if (typeof plugin.methods?.invoke !== 'function') {
  throw new Error('the module exports no `methods` with a function `invoke`');
}

// The types of the refusals that a plugin may throw.
const pause = option(u32);
const methodError = variant({ 'invalid-payload': text, 'unknown-method': null, busy: pause, failed: text, other: text });
const jobError = variant({ retry: pause, reject: text, other: text });
const bareText = { ...text, has: (thrown) => typeof thrown === 'string' };
const nothing = { has: () => false };

const failed = (why) => ({ tag: 'failed', val: why });
const other = (why) => ({ tag: 'other', val: why });
const bare = (why) => why;

const changed = plugin.desired && told(plugin.desired, 'changed', jobError, other);

export const methods = { invoke: told(plugin.methods, 'invoke', methodError, failed, checkedResponse) };
export const deferred = plugin.deferred && { run: told(plugin.deferred, 'run', jobError, other) };
export const desired = changed && { changed: (patch, version) => changed(patch, u64.back(version)) };
export const lifecycle = plugin.lifecycle && {
  start: told(plugin.lifecycle, 'start', bareText, bare),
  stop: told(plugin.lifecycle, 'stop', nothing, bare),
};

// Wraps a function of the plugin so that it throws only valid refusals. `refusals` is their
// type; `accident` converts the text of any other exception to a refusal.
function told(owner, name, refusals, accident, checked = () => {}) {
  return (...sent) => {
    begin();
    try {
      const given = owner[name](...sent);
      if (typeof given?.then === 'function') {
        throw new TypeError(`\`${name}\` returned a promise, and the host does not wait for promises`);
      }
      return checked(given);
    } catch (thrown) {
      throw refusal(name, refusals, thrown, accident);
    }
  };
}

// Converts a thrown value to a refusal that the host accepts.
function refusal(name, refusals, thrown, accident) {
  let exception = thrown;
  try {
    if (refusals.has(thrown)) {
      return refusals.out(thrown, `\`${name}\`: refusal`);
    }
  } catch (wrong) {
    exception = wrong;
  }
  return accident(logged(exception));
}

// Writes an exception to the log and returns its text. An exception may be any value, and
// reading one of its properties may throw.
function logged(thrown) {
  const of = (read) => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  // The payload of an error of the host is its case.
  const why = words(of(() => thrown.payload) ?? thrown);
  const stack = of(() => thrown.stack.trim());
  write('error', why, typeof stack === 'string' ? [['stack', stack]] : []);
  return why;
}

const response = record({ status: u16, payload: option(text) });

function checkedResponse(given) {
  const { status, payload } = given ?? {};
  if (!Number.isInteger(status) || status < 0 || status > 0xffff) {
    throw new TypeError('`invoke` returned no `{ status, payload }` with a number from 0 to 65535 as status');
  }
  if (payload != null && typeof payload !== 'string') {
    throw new TypeError('`invoke` returned a payload that is not a text; use JSON.stringify');
  }
  return response.out({ status, payload });
}
