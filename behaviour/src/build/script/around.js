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

const one = (...tags) => (thrown) => tags.includes(thrown?.tag);
const refusal = one('invalid-payload', 'unknown-method', 'busy', 'failed', 'other');
const jobRefusal = one('retry', 'reject', 'other');
const failed = (why) => ({ tag: 'failed', val: why });
const other = (why) => ({ tag: 'other', val: why });
const text = (why) => why;

export const methods = { invoke: told(plugin.methods, 'invoke', refusal, failed) };
export const deferred = plugin.deferred && { run: told(plugin.deferred, 'run', jobRefusal, other) };
export const desired = plugin.desired && { changed: told(plugin.desired, 'changed', jobRefusal, other) };
export const lifecycle = plugin.lifecycle && {
  start: told(plugin.lifecycle, 'start', (thrown) => typeof thrown === 'string', text),
  stop: told(plugin.lifecycle, 'stop', () => false, text),
};

// A function of the plugin, of which all that it throws is what it may throw:
// `meant` knows that, and `accident` makes it of anything else.
function told(owner, name, meant, accident) {
  return (...sent) => {
    begin();
    try {
      return owner[name](...sent);
    } catch (thrown) {
      if (meant(thrown)) {
        throw thrown;
      }
      // What the host refused has no message, but says what it was.
      const why = thrown?.payload === undefined ? String(thrown) : JSON.stringify(thrown.payload);
      write('error', why, thrown?.stack ? [['stack', thrown.stack.trim()]] : []);
      throw accident(why);
    }
  };
}
