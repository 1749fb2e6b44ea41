// The list of devices.

import { json } from "./api.js";
import { clock, count, element, field, notice, table } from "./elements.js";
import { subscribe } from "./stream.js";

const ROWS = 100;
const SEARCH_DELAY_MS = 150;

/** Shows the list. Returns the function that ends it. */
export function devices(main) {
  const pages = [null];
  let timer = 0;
  let latest = 0;
  const rows = new Map();

  const search = element("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  const connected = element("input", { type: "checkbox" });
  const summary = element("p", { role: "status" });
  const { whole, body, remark } = table("Devices", ["Device", "Connection", "Status", "Last activity", "Model"]);
  const previous = element("button", { type: "button", onclick: () => turn(-1) }, "Previous page");
  const next = element("button", { type: "button", onclick: () => turn(1) }, "Next page");
  const restart = () => {
    pages.length = 1;
    load();
  };
  search.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(restart, SEARCH_DELAY_MS);
  });
  connected.addEventListener("change", restart);
  main.append(
    element("h2", {}, "Devices"),
    element(
      "form",
      { class: "row", role: "search", onsubmit: (event) => event.preventDefault() },
      field("Part of the device id", search),
      element("label", { class: "check" }, connected, " connected only"),
    ),
    summary,
    element("div", { class: "scroll" }, whole),
    element("div", { class: "row" }, previous, next),
  );

  let following = null;
  function turn(direction) {
    if (direction > 0 && following) pages.push(following);
    if (direction < 0 && pages.length > 1) pages.pop();
    load();
  }

  async function load() {
    const own = ++latest;
    let page;
    const query = new URLSearchParams({ search: search.value, connected: connected.checked, rows: ROWS });
    const after = pages.at(-1);
    if (after) query.set("after", after);
    try {
      page = await json(`devices?${query}`);
      notice();
    } catch (error) {
      if (own === latest) notice(error.message);
      return;
    }
    // A later request has overtaken this one.
    if (own !== latest) return;
    following = page.next;
    const shown = page.devices.length;
    const isSelection = search.value !== "" || connected.checked;
    const found = isSelection ? count(shown, "match", "matches") : shown;
    summary.textContent = `${count(page.total, "device")}, ${page.connected} connected. Page ${pages.length} shows ${found}.`;
    rows.clear();
    body.replaceChildren(...page.devices.map(row));
    if (!shown) remark(isSelection ? "No device matches." : "none yet");
    previous.disabled = pages.length === 1;
    next.disabled = !page.next;
  }

  function row(device) {
    const id = device.deviceId;
    const state = element("td", {});
    const activity = element("td", {}, clock(device.lastActivityTime));
    rows.set(id, { state, activity });
    setState(state, device.connected);
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, element("a", { href: `#/device/${encodeURIComponent(id)}/twin` }, id)),
      state,
      element("td", {}, device.enabled ? "enabled" : "disabled"),
      activity,
      element("td", {}, device.modelId ?? ""),
    );
  }

  let reload = 0;
  const unsubscribe = subscribe(
    { kinds: "lifecycle" },
    (kind, data) => {
      const found = rows.get(data.deviceId);
      if (kind === "lifecycle" && found && /^device(Connected|Disconnected)$/.test(data.opType)) {
        setState(found.state, data.opType === "deviceConnected");
        found.activity.replaceChildren(clock(data.time));
      }
      // Counts and created or deleted devices: at most one request per second.
      reload ||= setTimeout(() => {
        reload = 0;
        load();
      }, 1000);
    },
    load,
    () => {
      for (const { state } of rows.values()) setState(state, null);
      summary.textContent = "This is the last list that the hub has sent.";
    },
  );
  return () => {
    unsubscribe();
    clearTimeout(timer);
    clearTimeout(reload);
    latest += 1;
    notice();
  };
}

/** Shows the connection of a device by a word and a color. `null` is unknown. */
export function setState(cell, connected) {
  cell.textContent = connected === null ? "unknown" : connected ? "connected" : "disconnected";
  cell.className = connected ? "state on" : "state";
}
