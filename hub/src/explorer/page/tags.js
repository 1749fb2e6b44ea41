// An editor for the tags of a device.

import { json, twinPath } from "./api.js";
import { draft, drop, keep } from "./drafts.js";
import { element, field, form } from "./elements.js";

/**
 * Returns the form, and a function that shows the tags of a twin unless they are being edited.
 * Nothing can be edited before the twin is known: it would replace the text.
 */
export function tags(id, saved) {
  const text = element("textarea", { rows: "4", spellcheck: "false", autocomplete: "off", disabled: true });
  const save = element("button", { class: "primary", disabled: true }, "Save the tags");
  const name = `tags of ${id}`;
  let base = null;

  const edited = () => base !== null && text.value !== written(base);
  const remember = () => (edited() ? keep(name, { base, text: text.value }) : drop(name));
  text.addEventListener("input", remember);

  async function store() {
    let wanted;
    try {
      wanted = JSON.parse(text.value);
    } catch (error) {
      throw new Error(`The tags are not JSON: ${error.message}`);
    }
    if (typeof wanted !== "object" || wanted === null || Array.isArray(wanted)) throw new Error("The tags are not a JSON object.");
    // A tag that is missing in the text is deleted.
    const removed = Object.keys(base.tags ?? {}).filter((name) => !Object.hasOwn(wanted, name));
    const patch = { ...wanted, ...Object.fromEntries(removed.map((name) => [name, null])) };
    text.readOnly = true;
    try {
      const twin = await json(twinPath(id), { method: "PATCH", headers: { "if-match": `"${base.etag}"` }, body: JSON.stringify({ tags: patch }) });
      edit(twin, written(twin));
      saved(twin);
      return "The tags are saved.";
    } catch (error) {
      if (error.status !== 412) throw error;
      edit(await json(twinPath(id)), text.value);
      saved(base);
      throw new Error("Not saved: somebody else has changed the twin. Save again to replace its current tags.");
    } finally {
      text.readOnly = false;
    }
  }

  function edit(from, shown) {
    base = from;
    text.value = shown;
    text.disabled = save.disabled = false;
    remember();
  }

  const { whole } = form(
    "Edit tags",
    store,
    field("Tags as JSON", text, "A removed tag is deleted. Devices do not see tags; queries, jobs and configurations select devices by them."),
    save,
  );
  return {
    whole,
    show: (twin) => {
      const kept = base === null && draft(name);
      if (kept) edit(kept.base, kept.text);
      if (!edited()) edit(twin, written(twin));
      // A change of anything but tags does not conflict with the edited text.
      else if (written(twin) === written(base)) edit(twin, text.value);
    },
  };
}

const written = (twin) => JSON.stringify(twin.tags ?? {}, null, 2);
