// The stream of the hub's events. One connection per page, since browsers allow few per host.

import { send } from "./api.js";

const RETRY_MS = 1000;

/** State of a page that shows changes as they happen. */
export const LIVE = "live";

/** State of a page whose contents can be out of date. */
export const LOST = "connection lost, retrying";

/** State of a page whose requests the hub refuses, for example by a fault. */
export const REFUSED = "refused, retrying";

let wanted = null;
let controller = null;

/**
 * Subscribes to events: `parameters` of `/$events`, a function for each event, one that is
 * called whenever the stream has been opened, as events before that can be missing, and one
 * that is called when it is lost. Replaces the previous subscription. Returns the function that
 * ends the subscription.
 */
export function subscribe(parameters, onEvent, onOpen, onLost) {
  const subscription = { parameters, onEvent, onOpen, onLost };
  wanted = subscription;
  restart();
  return () => {
    if (wanted !== subscription) return;
    wanted = null;
    restart();
  };
}

// A hidden page needs no events. The number of connections of a browser is limited.
document.addEventListener("visibilitychange", restart);

function restart() {
  controller?.abort();
  controller = null;
  showLive(wanted ? "not connected" : "");
  if (!wanted || document.hidden) return;
  controller = new AbortController();
  run(wanted, controller.signal);
}

async function run(subscription, signal) {
  while (!signal.aborted) {
    try {
      const query = new URLSearchParams(subscription.parameters);
      const response = await send(`api/$events?${query}`, { signal });
      showLive(LIVE);
      subscription.onOpen();
      await read(response.body, subscription.onEvent);
    } catch (error) {
      if (signal.aborted || error.status === 401) return;
    }
    if (signal.aborted) return;
    showLive(LOST);
    subscription.onLost();
    await new Promise((done) => setTimeout(done, RETRY_MS));
  }
}

async function read(body, onEvent) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  let kind = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("event: ")) kind = line.slice(7);
      else if (line.startsWith("data: ")) onEvent(kind, JSON.parse(line.slice(6)));
    }
  }
}

/** Shows how current the page is. */
export function showLive(state) {
  const live = document.getElementById("live");
  if (live.textContent !== state) live.textContent = state;
  live.classList.toggle("on", state === LIVE);
}
