// A device: its connection, its modules, and tabs with its twin, methods, telemetry and traffic.

import { json, twinPath } from "./api.js";
import { element, notice } from "./elements.js";
import { setState } from "./devices.js";
import { telemetry, traffic } from "./messages.js";
import { methods } from "./methods.js";
import { modules } from "./modules.js";
import { subscribe } from "./stream.js";
import { twin } from "./twin.js";

const KINDS = "telemetry,twin,lifecycle,method";
const TABS = [
  ["twin", "Twin", twin],
  ["methods", "Methods", methods],
  ["telemetry", "Telemetry", telemetry],
  ["traffic", "MQTT traffic", traffic],
];

/** Shows a device. Returns the function that ends it. */
export function device(main, id, selected) {
  const state = element("span", { class: "state" });
  const tabList = element("div", { role: "tablist", "aria-label": `Views of ${id}` });
  const views = [];
  const dropped = element("p", { role: "status" });
  main.append(
    element("p", {}, element("a", { href: "#/devices" }, "All devices")),
    element("h2", {}, id, " ", state),
  );
  const ofDevice = modules(main, id);
  main.append(tabList, dropped);
  for (const [name, label, open] of TABS) {
    const panel = element("section", {
      role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, tabindex: "0", hidden: true,
    });
    const tab = element(
      "button",
      { role: "tab", type: "button", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => select(name) },
      label,
    );
    tabList.append(tab);
    main.append(panel);
    views.push({ name, tab, panel, view: open(panel, id) });
  }
  tabList.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    const from = views.findIndex(({ tab }) => tab === document.activeElement);
    const to =
      event.key === "Home" ? 0 : event.key === "End" ? views.length - 1 : step ? (from + step + views.length) % views.length : -1;
    if (to < 0 || from < 0) return;
    event.preventDefault();
    views[to].tab.focus();
    select(views[to].name);
  });

  let unsubscribe = () => {};
  let listensToTraffic = null;

  function select(name) {
    for (const view of views) {
      const active = view.name === name;
      view.tab.setAttribute("aria-selected", active);
      view.tab.tabIndex = active ? 0 : -1;
      view.panel.hidden = !active;
    }
    history.replaceState(null, "", `#/device/${encodeURIComponent(id)}/${name}`);
    listen(name === "traffic");
  }

  // The hub decodes traffic only while somebody looks at it.
  function listen(withTraffic) {
    if (listensToTraffic === withTraffic) return;
    listensToTraffic = withTraffic;
    unsubscribe();
    const kinds = withTraffic ? `${KINDS},traffic` : KINDS;
    unsubscribe = subscribe({ device: id, kinds }, receive, refresh, () => {
      setState(state, null);
      ofDevice.doubt();
    });
  }

  function receive(kind, data) {
    if (kind === "dropped") {
      dropped.textContent = `${data.dropped} events are missing: this page was too slow`;
      refresh();
    } else if (kind === "lifecycle" && data.moduleId) {
      ofDevice.read();
    } else if (kind === "lifecycle") {
      if (data.opType === "deviceConnected") setState(state, true);
      if (data.opType === "deviceDisconnected") setState(state, false);
      if (data.opType === "deleteDeviceIdentity") notice("The device has been deleted.");
    }
    for (const { view } of views) view.receive?.(kind, data);
  }

  async function refresh() {
    ofDevice.read();
    try {
      const found = await json(twinPath(id));
      notice();
      setState(state, found.connectionState === "Connected");
      for (const { view } of views) view.refresh?.(found);
    } catch (error) {
      notice(error.message);
    }
  }

  select(TABS.some(([name]) => name === selected) ? selected : "twin");
  return () => unsubscribe();
}
