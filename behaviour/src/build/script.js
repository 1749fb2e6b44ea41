// What stands around a plugin's own module, so that what is wrong with it is told:
// a missing export when it is built, and what it throws without meaning to in the
// log. The engine itself would stop without a word.

import * as plugin from 'PLUGIN_ENTRY';
import { write } from 'device:behaviour/log@0.1.0';

export * from 'PLUGIN_ENTRY';

if (typeof plugin.methods?.invoke !== 'function') {
  throw new Error('it exports no `methods` with a function `invoke`');
}

const refusals = ['invalid-payload', 'unknown-method', 'busy', 'failed', 'other'];
const jobRefusals = ['retry', 'reject', 'other'];

export const methods = { invoke: told(plugin.methods, 'invoke', refusals, 'failed') };
export const deferred = plugin.deferred && { run: told(plugin.deferred, 'run', jobRefusals, 'other') };
export const desired = plugin.desired && { changed: told(plugin.desired, 'changed', jobRefusals, 'other') };

// A function of the plugin, of which all that it throws is one of the refusals.
function told(owner, name, refusals, accident) {
  return (...sent) => {
    try {
      return owner[name](...sent);
    } catch (thrown) {
      if (refusals.includes(thrown?.tag)) {
        throw thrown;
      }
      // What the host refused has no message, but says what it was.
      const why = thrown?.payload === undefined ? String(thrown) : JSON.stringify(thrown.payload);
      write('error', why, thrown?.stack ? [['stack', thrown.stack.trim()]] : []);
      throw { tag: accident, val: why };
    }
  };
}
