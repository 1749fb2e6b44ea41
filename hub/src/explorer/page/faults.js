// Faults of the hub: set, watch and remove them.

import { json, send } from "./api.js";
import { keepForm } from "./drafts.js";
import { attempt, count, element, field, form, table } from "./elements.js";
import { details, EFFECTS, STEPS } from "./fault-kinds.js";
import { repeat } from "./repeat.js";

const NOW = "now";
const LONGEST_MS = 3_600_000;

/** Shows the faults. Returns the function that ends the page. */
export function faults(main) {
  const option = ([value, text]) => element("option", { value }, text);
  const choice = (values) => element("select", {}, ...values.map(option));
  const number = (value, least, most) => element("input", { type: "number", required: true, min: least, max: most, value });
  const effect = choice(Object.keys(EFFECTS).map((name) => [name, name]));
  const step = choice([[NOW, "now, at no step"], ...Object.entries(STEPS).map(([name, text]) => [name, `${name}: ${text}`])]);
  const device = element("input", { autocomplete: "off", spellcheck: "false" });
  const ms = number("3000", 0, LONGEST_MS);
  const code = number("0", 0, 255);
  const reason = choice(EFFECTS.refuse.codes);
  const forget = choice(EFFECTS.restart.forgets.map((name) => [name, name]));
  const after = number("0", 0);
  const times = number("1", 1);
  const lasting = number("60", 1, LONGEST_MS / 1000);
  const effectField = field("Effect", effect, " ");
  const fields = {
    step: field("Step of the protocol", step),
    device: field("Device", device, " "),
    ms: field("Milliseconds", ms),
    code: field("Code", code),
    reason: field("Return code", reason),
    forget: field("State that is lost", forget),
    after: field("Number that works first", after),
    times: field("Number that fails", times),
    lasting: field("Lifetime in seconds", lasting, "After this time the fault ends, even if it has not happened"),
  };
  const setting = form(
    "Set a fault",
    set,
    effectField,
    ...Object.values(fields),
    element("button", { class: "primary" }, "Set the fault"),
  );
  const saved = keepForm("fault", setting.whole);
  effect.addEventListener("change", ask);
  step.addEventListener("change", ask);
  ask();

  /** Asks only for what the effect and the step have. */
  function ask() {
    const kind = EFFECTS[effect.value];
    const possible = [...(kind.isImmediate ? [NOW] : []), ...(kind.steps ?? [])];
    for (const shown of step.options) shown.hidden = shown.disabled = !possible.includes(shown.value);
    if (!possible.includes(step.value)) step.value = possible.includes("method") ? "method" : possible[0];
    const isNow = step.value === NOW;
    const isFor = { step: Boolean(kind.steps), device: !kind.forEveryDevice, ms: kind.ms, code: kind.code, reason: kind.codes, forget: kind.forgets, after: !isNow, times: !isNow, lasting: !isNow };
    for (const [name, shown] of Object.entries(fields)) {
      shown.hidden = !isFor[name];
      // A control that is not shown is not checked either.
      shown.querySelector("input, select").disabled = shown.hidden;
    }
    device.required = isNow && !kind.forEveryDevice;
    const say = (of, part, text) => (of.querySelector(part).textContent = text);
    say(effectField, "small", kind.says);
    say(fields.device, "small", device.required ? "This effect needs a device that is connected" : "Empty for all devices");
    say(fields.ms, "label", kind.ms ?? "Milliseconds");
    say(fields.code, "label", kind.code ?? "Code");
  }

  const happened = element("p", { role: "status" });
  const { whole, list } = table("Faults that are set", ["Effect", "Step", "Device", "Details", ""]);
  const clear = element("button", { type: "button", onclick: attempt(async () => {
    await send("api/$faults", { method: "DELETE" });
    await load();
    return "Removed all faults.";
  }) }, "Remove all faults");
  main.append(element("h2", {}, "Faults"), element("div", { class: "columns" }, setting.whole, element("div", {}, happened, element("div", { class: "scroll" }, whole), clear)));

  async function set() {
    const controls = { device, ms, code, forget, after, times };
    const shown = Object.entries(controls).filter(([, control]) => !control.disabled && control.value !== "");
    const fault = { effect: effect.value, ...Object.fromEntries(shown.map(([key, { type, value }]) => [key, type === "number" ? Number(value) : value])) };
    if (!reason.disabled) fault.code = Number(reason.value);
    if (!lasting.disabled) fault.lasting_ms = Number(lasting.value) * 1000;
    if (!step.disabled && step.value !== NOW) fault.step = step.value;
    await send("api/$faults", { method: "POST", body: JSON.stringify(fault) });
    saved();
    await load();
    return fault.step ? `Set ${fault.effect} at ${fault.step}.` : `Done: ${fault.effect}.`;
  }

  async function remove({ id, effect, step }) {
    await send(`api/$faults/${id}`, { method: "DELETE" });
    await load();
    return `Removed ${effect} at ${step}.`;
  }

  async function load() {
    const found = await json("api/$faults");
    const text = `${count(found.happened, "fault")} happened since the hub started.`;
    if (happened.textContent !== text) happened.textContent = text;
    list(found.waiting, (fault) => element(
      "tr",
      {},
      element("th", { scope: "row" }, fault.effect),
      element("td", {}, fault.step),
      element("td", {}, fault.device ?? "all"),
      element("td", {}, details(fault)),
      element("td", {}, element("button", { type: "button", onclick: attempt(() => remove(fault)), "aria-label": `Remove ${fault.effect} at ${fault.step}` }, "Remove")),
    ));
  }

  return repeat(load);
}
