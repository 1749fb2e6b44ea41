// Views that are read again and again while they are visible.

import { notice } from "./elements.js";

const REFRESH_MS = 2000;

/** Calls an action now and regularly while the page is visible. Returns the function that ends it. */
export function repeat(action) {
  let timer = 0;
  let ended = false;
  const next = async () => {
    try {
      if (!document.hidden) await action();
    } catch (error) {
      if (!ended) notice(error.message);
    }
    if (!ended) timer = setTimeout(next, REFRESH_MS);
  };
  next();
  return () => {
    ended = true;
    clearTimeout(timer);
  };
}
