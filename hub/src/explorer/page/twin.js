// The twin of a device: an editor for desired properties, and tables with times of changes.

import { json, twinPath } from "./api.js";
import { draft, drop, keep } from "./drafts.js";
import { clock, element, field, form, table } from "./elements.js";
import { merged } from "./repeat.js";
import { tags } from "./tags.js";

const SECTIONS = [
  ["Reported properties", (twin) => twin.properties.reported],
  ["Desired properties", (twin) => twin.properties.desired],
  ["Tags", (twin) => twin.tags ?? {}],
];

/** Shows the twin in a panel. */
export function twin(panel, id) {
  // Nothing can be edited before the twin is known: it would replace the text.
  const text = element("textarea", { rows: "10", spellcheck: "false", autocomplete: "off", disabled: true });
  const versions = element("p", {});
  const conflict = element("div", { role: "status" });
  const save = element("button", { class: "primary", disabled: true }, "Save");
  const discard = element("button", { type: "button", disabled: true, onclick: () => { load(); editor.say(); } }, "Discard my changes");
  const name = `desired properties of ${id}`;
  let base = null;
  let current = null;

  const edited = () => base !== null && text.value !== written(base);
  const remember = () => (edited() ? keep(name, { base, text: text.value }) : drop(name));
  text.addEventListener("input", remember);
  const edit = (from, shown) => {
    base = from;
    text.value = shown;
    text.disabled = save.disabled = discard.disabled = false;
    remember();
  };
  const load = () => {
    edit(current, written(current));
    conflict.replaceChildren();
  };
  const editor = form(
    "Edit desired properties",
    store,
    field("Desired properties as JSON", text, "A removed property is deleted. The hub refuses the change if somebody else has changed the twin meanwhile."),
    conflict,
    element("div", { class: "row" }, save, discard),
  );
  const tables = SECTIONS.map(([name, section]) => ({ section, shown: null, ...table(name, ["Property", "Value", "Last change"]) }));
  const tagEditor = tags(id, (found) => refresh(found));
  panel.append(versions, element("div", { class: "columns" }, element("div", {}, ...tables.map(({ whole }) => element("div", { class: "scroll" }, whole))), element("div", {}, editor.whole, tagEditor.whole)));

  async function store() {
    let wanted;
    try {
      wanted = JSON.parse(text.value);
    } catch (error) {
      throw new Error(`The desired properties are not JSON: ${error.message}`);
    }
    if (!isObject(wanted)) throw new Error("The desired properties are not a JSON object.");
    const body = JSON.stringify({ properties: { desired: patchOf(properties(base), wanted) } });
    text.readOnly = true;
    try {
      current = await json(twinPath(id), { method: "PATCH", headers: { "if-match": `"${base.etag}"` }, body });
      load();
      show(current);
      return `Saved as version ${current.properties.desired.$version}.`;
    } catch (error) {
      if (error.status !== 412) throw error;
      refresh(await json(twinPath(id)));
      showConflict("Not saved: somebody else has changed the twin.");
    } finally {
      text.readOnly = false;
    }
  }

  function showConflict(reason) {
    const keep = () => {
      edit(current, text.value);
      conflict.replaceChildren(`Your text now replaces version ${current.properties.desired.$version}. Save to store it.`);
      save.focus();
    };
    conflict.replaceChildren(
      element("p", { class: "warning" }, `${reason} The current desired version is ${current.properties.desired.$version}.`),
      element(
        "div",
        { class: "row" },
        element("button", { type: "button", onclick: () => load() }, "Load the current properties"),
        element("button", { type: "button", onclick: keep }, "Keep my text"),
      ),
    );
  }

  function refresh(found) {
    current = found;
    const kept = base === null && draft(name);
    if (kept) {
      edit(kept.base, kept.text);
      editor.say("This is your text from before. It is not saved.");
    }
    if (!edited()) load();
    // A change of anything but desired properties does not conflict with the edited text.
    else if (written(base) === written(current)) edit(current, text.value);
    else if (!conflict.firstChild) showConflict("The desired properties have changed since you began to edit.");
    show(found);
  }

  function show(found) {
    const { desired, reported } = found.properties;
    versions.textContent = `Version ${found.version}: desired ${desired.$version}, reported ${reported.$version}. ETag ${found.etag}.`;
    for (const shown of tables) fill(shown, shown.section(found));
    tagEditor.show(found);
  }

  const follow = merged(async () => refresh(await json(twinPath(id))));

  return {
    refresh,
    receive: (kind, data) => {
      if (kind === "twin" && !data.moduleId) follow();
    },
  };
}

/** Fills a table with the properties of a section, and highlights those that have changed. */
function fill(shown, section) {
  const rows = new Map(leaves(section, section.$metadata, []).map((leaf) => [leaf.path, leaf]));
  const before = shown.shown;
  shown.shown = rows;
  if (before && same(before, rows)) return;
  const made = [...rows.values()].map((leaf) => {
    const changed = before !== null && !equal(before.get(leaf.path), leaf);
    return element(
      "tr",
      changed ? { class: "changed" } : {},
      element("th", { scope: "row" }, leaf.path),
      element("td", {}, element("code", {}, leaf.value)),
      element("td", {}, leaf.updated ? clock(leaf.updated) : ""),
    );
  });
  if (made.length) shown.body.replaceChildren(...made);
  else shown.remark("none yet");
}

const equal = (one, other) => one?.value === other.value && one?.updated === other.updated;

function same(before, after) {
  return before.size === after.size && [...after].every(([path, leaf]) => equal(before.get(path), leaf));
}

function leaves(value, metadata, path) {
  return Object.entries(value)
    .filter(([key]) => !key.startsWith("$"))
    .flatMap(([key, inner]) => {
      const own = [...path, key];
      const about = metadata?.[key];
      if (isObject(inner) && Object.keys(inner).length > 0) return leaves(inner, about, own);
      return [{ path: own.join("."), value: JSON.stringify(inner), updated: about?.$lastUpdated }];
    });
}

function isObject(value) {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function properties(twin) {
  return Object.fromEntries(Object.entries(twin.properties.desired).filter(([key]) => !key.startsWith("$")));
}

function written(twin) {
  return JSON.stringify(properties(twin), null, 2);
}

/** Returns the patch that changes one object into another: `null` deletes a property. */
function patchOf(before, after) {
  const removed = Object.keys(before).filter((key) => !Object.hasOwn(after, key));
  const changed = Object.entries(after).flatMap(([key, value]) => {
    const old = Object.hasOwn(before, key) ? before[key] : undefined;
    if (!isObject(value) || !isObject(old)) return JSON.stringify(old) === JSON.stringify(value) ? [] : [[key, value]];
    const inner = patchOf(old, value);
    return Object.keys(inner).length > 0 ? [[key, inner]] : [];
  });
  return Object.fromEntries([...removed.map((key) => [key, null]), ...changed]);
}
