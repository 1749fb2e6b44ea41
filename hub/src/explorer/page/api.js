// Requests to the hub. The session cookie authorises them; the page never has a key.

const HEADERS = { "x-behaviour-explorer": "1" };

/** An error of the hub, with its HTTP status. */
export class HubError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let signedOut = () => {};

/** Sets the function that is called when the session has ended. */
export function onSignedOut(action) {
  signedOut = action;
}

/** Sends a request to a path below `/$explorer/`, and returns the response. */
export async function send(path, { method = "GET", headers = {}, body, signal } = {}) {
  let response;
  try {
    response = await fetch(`/$explorer/${path}`, {
      method,
      headers: { ...HEADERS, ...headers },
      body,
      signal,
      credentials: "same-origin",
      redirect: "error",
    });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new HubError(0, "the hub does not answer; it may have stopped");
  }
  if (response.ok) return response;
  if (response.status === 401 && path !== "session") signedOut();
  throw new HubError(response.status, reason(await response.text(), response.status));
}

/** Returns the JSON of a response. */
export async function json(path, options) {
  const response = await send(path, options);
  return response.status === 204 ? undefined : response.json();
}

/** Returns the path of a device in the REST API. */
export function twinPath(device) {
  return `api/twins/${encodeURIComponent(device)}`;
}

// The message is text, or JSON within a JSON string.
function reason(text, status) {
  try {
    const { Message, message } = JSON.parse(text);
    let found = Message ?? message;
    try {
      found = JSON.parse(found).message ?? found;
    } catch {
      // The message is plain text.
    }
    if (found) return `${status}: ${found}`;
  } catch {
    // The body is plain text.
  }
  return text ? `${status}: ${text}` : `the hub answered with status ${status}`;
}
