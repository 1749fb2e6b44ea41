// Automatic configurations of devices: list, create and delete them.

import { json, send } from "./api.js";
import { ask } from "./ask.js";
import { keepForm } from "./drafts.js";
import { attempt, clock, count, element, field, focusHeading, form, table } from "./elements.js";
import { repeat } from "./repeat.js";

const COLUMNS = ["Id", "Priority", "Target condition", "Devices", "Changed", "Content", ""];

/** Shows the configurations. Returns the function that ends the page. */
export function configurations(main) {
  const text = () => element("input", { autocomplete: "off", spellcheck: "false", required: true });
  const id = text();
  const condition = text();
  const priority = element("input", { type: "number", min: "0", value: "10", required: true });
  const content = element("textarea", { rows: "8", spellcheck: "false", autocomplete: "off" });
  content.value = '{\n  "properties.desired.interval": 5\n}';
  const creation = form(
    "Create a configuration",
    create,
    field("Id", id, "Lower-case letters, digits and -+%_*!'"),
    field("Target condition", condition, "Such as tags.floor = 1, or * for all devices"),
    field("Priority", priority, "The highest one wins"),
    field("Content as JSON", content, "Paths that begin with properties.desired, and their values"),
    element("button", { class: "primary" }, "Create"),
  );
  const saved = keepForm("configuration", creation.whole);
  const { whole, list } = table("Configurations", COLUMNS);
  main.append(element("h2", {}, "Configurations"), element("div", { class: "scroll" }, whole), creation.whole);

  async function create() {
    let deviceContent;
    try {
      deviceContent = JSON.parse(content.value);
    } catch (error) {
      throw new Error(`The content is not JSON: ${error.message}`);
    }
    const configuration = {
      id: id.value, targetCondition: condition.value, priority: Number(priority.value), content: { deviceContent },
    };
    await send(path(id.value), { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(configuration) });
    id.value = "";
    saved();
    await load();
    return `Created ${configuration.id}.`;
  }

  async function load() {
    const found = await json("api/configurations");
    found.sort((one, other) => other.priority - one.priority);
    list(found, row);
  }

  function row(found) {
    const { targetedCount, appliedCount } = found.systemMetrics?.results ?? {};
    const remove = attempt(async () => {
      const devices = count(appliedCount ?? 0, "device");
      if (!(await ask(`Delete ${found.id}? The hub removes its properties from ${devices}.`, "Delete"))) return;
      await send(path(found.id), { method: "DELETE", headers: { "if-match": "*" } });
      await load();
      focusHeading();
      return `Deleted ${found.id}.`;
    });
    const kind = found.content?.deviceContent ?? found.content?.moduleContent ?? found.content;
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, found.id),
      element("td", {}, found.priority),
      element("td", {}, element("code", {}, found.targetCondition)),
      element("td", {}, targetedCount === undefined ? "" : `${appliedCount ?? 0} of ${targetedCount}`),
      element("td", {}, clock(found.lastUpdatedTimeUtc)),
      element("td", {}, element("code", {}, JSON.stringify(kind))),
      element("td", {}, element("button", { type: "button", "aria-label": `Delete ${found.id}`, onclick: remove }, "Delete")),
    );
  }

  return repeat(load);
}

const path = (id) => `api/configurations/${encodeURIComponent(id)}`;
