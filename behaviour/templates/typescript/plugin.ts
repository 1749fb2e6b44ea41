// Answers the method `greet` with its payload, and reports the time to the twin.
//
// `behaviour build` generates gen/behaviour.d.ts, which declares the modules, from wit/.

import { nowRfc3339 } from 'device:behaviour/clock@0.1.2';
import { write } from 'device:behaviour/log@0.1.2';
import { report } from 'device:behaviour/twin@0.1.2';
import type { Methods } from 'device:behaviour/methods@0.1.2';
import type { MethodError } from 'device:behaviour/types@0.1.2';

export const methods: Methods = {
  // `payload` is JSON text. To refuse the call, throw a `MethodError`.
  invoke(name, payload) {
    if (name !== 'greet') {
      throw { tag: 'unknown-method' } satisfies MethodError;
    }
    write('info', 'greeted', [['with', payload]]);
    report(JSON.stringify({ lastGreeted: nowRfc3339() }));
    return { status: 200, payload: JSON.stringify({ hello: JSON.parse(payload) }) };
  },
};
