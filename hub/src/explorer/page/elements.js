// Construction of elements. Text of devices only ever becomes a text node, never HTML.

/** Returns an element with properties, attributes, listeners and children. */
export function element(name, options = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(options)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "value" || key === "checked" || key === "disabled") made[key] = value;
    else made.setAttribute(key, value === true ? "" : String(value));
  }
  made.append(...children.filter((child) => child !== undefined && child !== null));
  return made;
}

/**
 * Returns a table with named columns, its body, and a function that shows a row for each item.
 * Rows of unchanged items stay, so that a button in them keeps the keyboard's focus.
 */
export function table(caption, columns) {
  let shown = null;
  const body = element("tbody");
  const head = columns.map((column) => element("th", { scope: "col" }, column));
  const whole = element(
    "table",
    {},
    element("caption", {}, caption),
    element("thead", {}, element("tr", {}, ...head)),
    body,
  );
  const list = (items, row) => {
    const now = JSON.stringify(items);
    if (now === shown) return;
    shown = now;
    const none = () => element("tr", {}, element("td", { colspan: columns.length }, "none"));
    body.replaceChildren(...(items.length ? items.map(row) : [none()]));
  };
  return { whole, body, list };
}

/** Returns a labelled control. */
export function field(label, control, hint) {
  const id = `field-${(field.count = (field.count ?? 0) + 1)}`;
  control.id = id;
  const text = hint ? element("small", { id: `${id}-hint` }, hint) : undefined;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return element("div", { class: "field" }, element("label", { for: id }, label), control, text);
}

/** Shows a message about a failure, or removes it. Screen readers announce it. */
export function notice(text = "") {
  document.getElementById("notice").textContent = text;
}

/** Runs an action of the user, and shows its failure. */
export function attempt(action) {
  return async (event) => {
    event?.preventDefault?.();
    notice();
    try {
      await action(event);
    } catch (error) {
      notice(error.message);
    }
  };
}

/** Returns JSON text with indentation, or other text as it is. */
export function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

/** Returns the time of a timestamp in the clock of the reader. */
export function clock(time) {
  if (!time || time.startsWith("0001-")) return "never";
  const date = new Date(time);
  const today = date.toDateString() === new Date().toDateString();
  const text = date.toLocaleTimeString();
  return element("time", { datetime: time, title: time }, today ? text : `${date.toLocaleDateString()} ${text}`);
}

/** Adds a row at the top of a table, and removes the oldest rows beyond `most`. */
export function prepend(body, row, most) {
  body.prepend(row);
  while (body.rows.length > most) body.deleteRow(-1);
}
