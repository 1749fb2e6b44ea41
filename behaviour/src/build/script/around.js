// The wrapper of a plugin's module. Unlike the engine, it reports a missing export during the
// build, and writes unexpected exceptions to the log.

// These modules run before the plugin's modules.
import './text.js';
import { begin } from './engine.js';
import * as plugin from 'PLUGIN_ENTRY';
import { write } from 'lent:log';
import { option, record, text, u16, u32, u64, variant, describe } from './values.js';

export * from 'PLUGIN_ENTRY';

if (typeof plugin.methods?.invoke !== 'function') {
  throw new Error('the module exports no `methods` with a function `invoke`');
}

// The types of the refusals that a plugin may throw.
const pause = option(u32);
const methodError = variant({ 'invalid-payload': text, 'unknown-method': null, busy: pause, failed: text, other: text });
const jobError = variant({ retry: pause, reject: text, other: text });
const bareString = { ...text, has: (thrown) => typeof thrown === 'string' };
const nothing = { has: () => false };

const failed = (why) => ({ tag: 'failed', val: why });
const other = (why) => ({ tag: 'other', val: why });
const bare = (why) => why;

const changed = plugin.desired && guarded(plugin.desired, 'changed', jobError, other);

export const methods = { invoke: guarded(plugin.methods, 'invoke', methodError, failed, checkedResponse) };
export const deferred = plugin.deferred && { run: guarded(plugin.deferred, 'run', jobError, other) };
export const desired = changed && { changed: (patch, version) => changed(patch, u64.back(version)) };
export const messages = plugin.messages && { receive: guarded(plugin.messages, 'receive', jobError, other) };
export const lifecycle = plugin.lifecycle && {
  start: guarded(plugin.lifecycle, 'start', bareString, bare),
  stop: guarded(plugin.lifecycle, 'stop', nothing, bare),
};

// Wraps a function of the plugin so that it throws only valid refusals. `refusals` is their
// type. `accident` converts the message of any other exception to a refusal.
function guarded(owner, name, refusals, accident, checked = () => {}) {
  return (...args) => {
    begin();
    try {
      const returned = owner[name](...args);
      if (typeof returned?.then === 'function') {
        throw new TypeError(`\`${name}\` returned a promise, and the host does not wait for promises`);
      }
      return checked(returned);
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
  } catch (error) {
    exception = error;
  }
  return accident(logged(exception));
}

// The names of the plugin's files, and the lines of the bundle that come from them: for each
// run of lines the first, their number, the file, and the first line in that file.
const [files, runs] = 'PLUGIN_LINES';

function place(line) {
  const run = runs.find(([first, count]) => line >= first && line < first + count);
  return run && `${files[run[2]]}:${run[3] + line - run[0]}`;
}

// Converts a stack of the engine so that it names the plugin's files. Omits the glue. Returns
// the frames, and the place of the first one in a file of the plugin.
function located(stack) {
  let first;
  const frames = stack.split('\n').map((frame) => {
    const [, before, line] = /^(.*)\([^()]*bundle\.js:(\d+):\d+\)$/.exec(frame.trim()) ?? [];
    if (line === undefined) {
      return frame.trim();
    }
    const at = place(Number(line));
    first ??= at;
    return at && `${before}(${at})`;
  });
  return [frames.filter(Boolean).join('\n'), first];
}

// Writes an exception to the log and returns its message with its place. An exception can be
// any value, and reading one of its properties can throw.
function logged(thrown) {
  const attempt = (read) => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  // The payload of an error of the host is its case.
  const why = describe(attempt(() => thrown.payload) ?? thrown);
  const [stack, at] = attempt(() => located(thrown.stack.trim())) ?? [];
  write('error', why, stack ? [['stack', stack]] : []);
  return at ? `${why} (${at})` : why;
}

const response = record({ status: u16, payload: option(text) });

function checkedResponse(returned) {
  const { status, payload } = returned ?? {};
  if (!Number.isInteger(status) || status < 0 || status > 0xffff) {
    throw new TypeError('`invoke` returned no `{ status, payload }` with a number from 0 to 65535 as status');
  }
  if (payload != null && typeof payload !== 'string') {
    throw new TypeError('`invoke` returned a payload that is not a string; use JSON.stringify');
  }
  return response.out({ status, payload });
}
