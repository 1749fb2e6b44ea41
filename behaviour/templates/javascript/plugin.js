// Answers the method `greet` with its payload, and reports the time to the twin.

import { nowRfc3339 } from 'device:behaviour/clock@0.1.2';
import { write } from 'device:behaviour/log@0.1.2';
import { report } from 'device:behaviour/twin@0.1.2';

/** @type {import('device:behaviour/methods@0.1.2').Methods} */
export const methods = {
  // `payload` is JSON text. To refuse the call, throw a case of `method-error` in
  // wit/types.wit.
  invoke(name, payload) {
    if (name !== 'greet') {
      throw { tag: 'unknown-method' };
    }
    write('info', 'greeted', [['with', payload]]);
    report(JSON.stringify({ lastGreeted: nowRfc3339() }));
    return { status: 200, payload: JSON.stringify({ hello: JSON.parse(payload) }) };
  },
};
