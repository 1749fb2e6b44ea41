// Text that the user has typed and not saved. It outlives its view, and is lost only when the
// user signs out or closes the page, before which the browser asks.

const drafts = new Map();

/** Returns the draft of this name. */
export function draft(name) {
  return drafts.get(name)?.value;
}

/** Keeps a draft. The browser asks before an unsaved one is lost. */
export function keep(name, value, unsaved = true) {
  drafts.set(name, { value, unsaved });
}

/** Drops a draft that has been saved or discarded. */
export function drop(name) {
  drafts.delete(name);
}

/** Drops all drafts. */
export function dropAll() {
  drafts.clear();
}

/** Returns `true` if there is an unsaved draft. */
export function isUnsaved() {
  return [...drafts.values()].some(({ unsaved }) => unsaved);
}

/** Restores the values of a form, and keeps them from now on. Returns the function that marks them as saved. */
export function keepForm(name, form) {
  const controls = [...form.elements].filter((control) => control.matches("input, select, textarea"));
  draft(name)?.forEach((value, index) => (controls[index].value = value));
  const keepAs = (unsaved) => keep(name, controls.map((control) => control.value), unsaved);
  form.addEventListener("input", () => keepAs(true));
  return () => keepAs(false);
}

window.addEventListener("beforeunload", (event) => {
  if (isUnsaved()) event.preventDefault();
});
