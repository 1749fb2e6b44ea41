// Answers the method `fetch` with the response to a GET request to the URL in its payload.
//
// `behaviour build` generates gen/behaviour.d.ts, which declares the modules, from wit/.

import { send } from 'device:behaviour/http@0.1.2';
import type { RequestError, Response } from 'device:behaviour/http@0.1.2';
import type { Methods } from 'device:behaviour/methods@0.1.2';
import type { MethodError } from 'device:behaviour/types@0.1.2';

export const methods: Methods = {
  // `payload` is JSON text. To refuse the call, throw a `MethodError`.
  invoke(name, payload) {
    if (name !== 'fetch') {
      throw { tag: 'unknown-method' } satisfies MethodError;
    }
    const url: unknown = JSON.parse(payload);
    if (typeof url !== 'string') {
      throw { tag: 'invalid-payload', val: 'expected a URL in quotes' } satisfies MethodError;
    }
    const { status, body } = get(url);
    // The body must be JSON, since it is the answer's payload.
    return { status, payload: new TextDecoder().decode(body) };
  },
};

function get(url: string): Response {
  const headers: [string, string][] = [['accept', 'application/json']];
  try {
    return send({ method: 'GET', url, headers, body: new Uint8Array(), timeoutMs: null });
  } catch (error) {
    const { payload } = error as { payload: RequestError };
    throw { tag: 'failed', val: payload.val } satisfies MethodError;
  }
}
