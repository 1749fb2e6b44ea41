// Telemetry and MQTT traffic of a device, as they arrive.

import { clock, element, prepend, pretty, table } from "./elements.js";

const MOST_ROWS = 200;

/** Shows telemetry in a panel. */
export function telemetry(panel) {
  const columns = ["Time", "Properties", "Body"];
  const add = list(panel, "Telemetry since this page was opened", columns);
  return {
    receive: (kind, data) => {
      if (kind !== "telemetry") return;
      const { "iothub-enqueuedtime": time, ...properties } = data.properties;
      const own = Object.entries(properties).filter(([key]) => !key.startsWith("iothub-connection-"));
      const items = own.map(([key, value]) => element("li", {}, value === null ? key : `${key} = ${value}`));
      add(
        element("td", {}, clock(time ?? data.time)),
        element("td", {}, element("ul", {}, ...items)),
        element("td", {}, payload(data)),
      );
    },
  };
}

/** Shows the packets of a device in a panel. */
export function traffic(panel) {
  panel.append(element("p", {}, "The packets of this device while this view is open. Passwords are not shown."));
  const columns = ["Time", "Direction", "Packet", "Topic", "Size", "Body"];
  const add = list(panel, "MQTT traffic", columns);
  return {
    receive: (kind, data) => {
      if (kind !== "traffic") return;
      const topic = data.topic ?? data.filters?.join(", ") ?? data.userName ?? "";
      const details = [
        data.packet === "PUBLISH" ? `PUBLISH, QoS ${data.qos}` : data.packet,
        data.type,
        data.reason,
      ];
      const packet = details.filter(Boolean).join(", ");
      add(
        element("td", {}, clock(data.time)),
        element("td", {}, data.direction === "fromDevice" ? "from the device" : "to the device"),
        element("td", {}, packet),
        element("td", {}, element("code", {}, topic)),
        element("td", {}, data.bytes === undefined ? "" : `${data.bytes} B`),
        element("td", {}, data.packet === "PUBLISH" && data.bytes > 0 ? payload(data) : ""),
      );
    },
  };
}

/** Adds a table with buttons to pause and to clear it. Returns the function that adds a row. */
function list(panel, caption, columns) {
  const { whole, body, remark } = table(caption, columns);
  const empty = () => remark("none yet");
  empty();
  // Rows that have arrived during a pause, as many as the table can show, and the number of all.
  let waiting = null;
  let arrived = 0;
  const note = element("span", { role: "status" });
  const show = (row) => prepend(body, row, MOST_ROWS);
  const pause = element("button", { type: "button", onclick: toggle }, "Pause");
  function toggle() {
    if (waiting) {
      waiting.forEach(show);
      const lost = arrived - waiting.length;
      note.textContent = lost ? `${lost} of ${arrived} were not kept.` : "";
      waiting = null;
      pause.textContent = "Pause";
    } else {
      waiting = [];
      arrived = 0;
      note.textContent = "Paused.";
      pause.textContent = "Resume (0 new)";
    }
  }
  const clear = element("button", { type: "button", onclick: empty }, "Clear");
  panel.append(element("div", { class: "row" }, pause, clear, note), element("div", { class: "scroll" }, whole));
  return (...cells) => {
    const row = element("tr", { class: "arrived" }, ...cells);
    if (!waiting) return show(row);
    arrived += 1;
    waiting.push(row);
    if (waiting.length > MOST_ROWS) waiting.shift();
    pause.textContent = `Resume (${arrived} new)`;
  };
}

function payload(data) {
  const text = data.body === undefined ? `base64: ${data.bodyBase64}` : pretty(data.body);
  return element("pre", {}, data.truncated ? `${text}\n… cut` : text);
}
