// The modules of a device and their connections.

import { json } from "./api.js";
import { setState } from "./devices.js";
import { element } from "./elements.js";
import { merged } from "./repeat.js";

/** Shows the modules of a device, if it has any. Returns functions that read and that doubt them. */
export function modules(main, device) {
  const list = element("ul", { class: "modules", "aria-label": "Modules", hidden: true });
  main.append(list);
  const id = device.replaceAll(/[\\']/g, "\\$&");
  const query = `SELECT moduleId, connectionState FROM devices.modules WHERE deviceId = '${id}'`;
  let states = [];

  async function read() {
    const found = await json("api/devices/query", { method: "POST", body: JSON.stringify({ query }) });
    states = found.map(({ connectionState }) => {
      const state = element("span", {});
      setState(state, connectionState === "Connected");
      return state;
    });
    list.replaceChildren(...found.map(({ moduleId }, index) => element("li", {}, `Module ${moduleId} `, states[index])));
    list.hidden = found.length === 0;
  }

  const doubt = () => {
    for (const state of states) setState(state, null);
  };
  return { read: merged(read), doubt };
}
