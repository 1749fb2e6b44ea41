// Answers the method `greet` with what it was sent, and tells the twin when.
//
// The types of the modules are in gen/behaviour.d.ts, which is made from wit/ by `behaviour build`.

import { nowRfc3339 } from 'device:behaviour/clock@0.1.0';
import { write } from 'device:behaviour/log@0.1.0';
import { report } from 'device:behaviour/twin@0.1.0';
import type { Methods } from 'device:behaviour/methods@0.1.0';
import type { MethodError } from 'device:behaviour/types@0.1.0';

export const methods: Methods = {
  // `payload` is JSON text. To refuse is to throw a `MethodError`.
  invoke(name, payload) {
    if (name !== 'greet') {
      throw { tag: 'unknown-method' } satisfies MethodError;
    }
    write('info', 'greeted', [['with', payload]]);
    report(JSON.stringify({ lastGreeted: nowRfc3339() }));
    return { status: 200, payload: JSON.stringify({ hello: JSON.parse(payload) }) };
  },
};
