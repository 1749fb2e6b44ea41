// Faults of the hub: set, watch and remove them.

import { json, send } from "./api.js";
import { keepForm } from "./drafts.js";
import { attempt, element, field, form, table } from "./elements.js";
import { repeat } from "./repeat.js";

const STEPS = ["connect", "subscribe", "acknowledge", "method", "answer", "twin-get", "twin-report", "desired", "cloud-to-device", "message", "request", "dps-connect", "dps-subscribe", "dps-register", "dps-status"];
const EFFECTS = ["drop-before", "drop-after", "lose", "delay", "reorder", "duplicate", "half-open", "throttle", "refuse", "conflict", "assigning", "disable"];
const IMMEDIATE = ["drop", "half-open", "expire-token", "restart"];

/** Shows the faults. Returns the function that ends the page. */
export function faults(main) {
  const choice = (values) => element("select", {}, ...values.map((value) => element("option", { value }, value)));
  const effect = choice([...EFFECTS, ...IMMEDIATE.filter((name) => !EFFECTS.includes(name))]);
  const step = choice(["", ...STEPS]);
  step.options[0].textContent = "immediately";
  step.value = "method";
  const device = element("input", { autocomplete: "off", spellcheck: "false" });
  const number = (value) => element("input", { type: "number", min: "0", value });
  const after = number("0");
  const times = number("1");
  const ms = number("");
  const lasting = number("60000");
  const code = number("");
  const setting = form(
    "Set a fault",
    set,
    field("Effect", effect),
    field("Step of the protocol", step, "drop, expire-token and restart happen immediately"),
    field("Device", device, "Empty for all devices"),
    field("Steps that work first", after),
    field("Steps that fail", times),
    field("Milliseconds", ms, "Of a delay, a silence or a restart"),
    field("Lifetime in milliseconds", lasting),
    field("Return code", code, "Of refuse: 1 to 5"),
    element("button", { class: "primary" }, "Set the fault"),
  );
  const saved = keepForm("fault", setting.whole);
  const happened = element("p", { role: "status" });
  const { whole, list } = table("Faults that are set", ["Effect", "Step", "Device", "Details"]);
  const clear = element("button", { type: "button", onclick: attempt(async () => {
    await send("api/$faults", { method: "DELETE" });
    await load();
    return "Removed all faults.";
  }) }, "Remove all faults");
  main.append(element("h2", {}, "Faults"), element("div", { class: "columns" }, setting.whole, element("div", {}, happened, element("div", { class: "scroll" }, whole), clear)));

  async function set() {
    const fault = { effect: effect.value };
    const add = (key, control, value = Number(control.value)) => {
      if (control.value !== "") fault[key] = value;
    };
    add("device", device, device.value);
    add("ms", ms);
    add("code", code);
    if (step.value) {
      fault.step = step.value;
      add("after", after);
      add("times", times);
      add("lasting_ms", lasting);
    }
    await send("api/$faults", { method: "POST", body: JSON.stringify(fault) });
    saved();
    await load();
    return fault.step ? `Set ${fault.effect} at ${fault.step}.` : `Done: ${fault.effect}.`;
  }

  async function load() {
    const found = await json("api/$faults");
    const text = `${found.happened} faults have happened.`;
    if (happened.textContent !== text) happened.textContent = text;
    list(found.waiting, ({ effect, step, device, ...rest }) => {
      const details = Object.entries(rest).filter(([, value]) => value !== null);
      return element(
        "tr",
        {},
        element("th", { scope: "row" }, effect),
        element("td", {}, step ?? ""),
        element("td", {}, device ?? "all"),
        element("td", {}, details.map(([key, value]) => `${key} ${value}`).join(", ")),
      );
    });
  }

  return repeat(load);
}
