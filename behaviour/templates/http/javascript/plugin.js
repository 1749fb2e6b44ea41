// Answers the method `fetch` with the response to a GET request to the URL in its payload.

import { send } from 'device:behaviour/http@0.1.2';

/** @type {import('device:behaviour/methods@0.1.2').Methods} */
export const methods = {
  // `payload` is JSON text. To refuse the call, throw a case of `method-error` in
  // wit/types.wit.
  invoke(name, payload) {
    if (name !== 'fetch') {
      throw { tag: 'unknown-method' };
    }
    const url = JSON.parse(payload);
    if (typeof url !== 'string') {
      throw { tag: 'invalid-payload', val: 'expected a URL in quotes' };
    }
    const { status, body } = get(url);
    // The body must be JSON, since it is the answer's payload.
    return { status, payload: new TextDecoder().decode(body) };
  },
};

/** @param {string} url */
function get(url) {
  const headers = /** @type {[string, string][]} */ ([['accept', 'application/json']]);
  try {
    return send({ method: 'GET', url, headers, body: new Uint8Array(), timeoutMs: null });
  } catch ({ payload: error }) {
    // A case of `request-error` in wit/http.wit.
    throw { tag: 'failed', val: error.val };
  }
}
