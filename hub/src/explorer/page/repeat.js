// Views that are read again: regularly while they are visible, or after events.

import { notice } from "./elements.js";
import { LIVE, LOST, REFUSED, showLive } from "./stream.js";

const REFRESH_MS = 2000;

/** Calls an action now and regularly while the page is visible. Returns the function that ends it. */
export function repeat(action) {
  let timer = 0;
  let ended = false;
  let failed = false;
  const show = (failure) => {
    if (ended) return;
    showLive(failure ? (failure.status ? REFUSED : LOST) : LIVE);
    if (failure) notice(failure.message);
    else if (failed) notice();
    failed = Boolean(failure);
  };
  const next = async () => {
    try {
      if (!document.hidden) {
        await action();
        show();
      }
    } catch (failure) {
      show(failure);
    }
    if (!ended) timer = setTimeout(next, REFRESH_MS);
  };
  next();
  return () => {
    ended = true;
    clearTimeout(timer);
    showLive("");
  };
}

/** Returns a function that runs an action. Calls during a run are covered by one further run. */
export function merged(action) {
  let calls = 0;
  return async () => {
    calls += 1;
    if (calls > 1) return;
    while (calls > 0) {
      const covered = calls;
      try {
        await action();
      } catch (error) {
        notice(error.message);
      }
      calls -= covered;
    }
  };
}
