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
 * Returns a table with named columns, its body, a function that shows a row for each item, and
 * one that replaces all rows by a remark. Rows of unchanged items stay, so that a button in them
 * keeps the keyboard's focus.
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
    if (items.length) body.replaceChildren(...items.map(row));
    else remark("none yet");
  };
  const remark = (text) => {
    body.replaceChildren(element("tr", { class: "remark" }, element("td", { colspan: columns.length }, text)));
  };
  return { whole, body, list, remark };
}

/** Returns a labelled control. */
export function field(label, control, hint) {
  const id = `field-${(field.count = (field.count ?? 0) + 1)}`;
  control.id = id;
  const text = hint ? element("small", { id: `${id}-hint` }, hint) : undefined;
  if (hint) control.setAttribute("aria-describedby", `${id}-hint`);
  return element("div", { class: "field" }, element("label", { for: id }, label), control, text);
}

/** Returns a place for the outcome of an action, which screen readers announce, and its function. */
function outcome() {
  const good = element("p", { class: "good", role: "status" });
  const bad = element("p", { class: "bad", role: "alert" });
  const place = element("div", { class: "outcome" }, good, bad);
  const set = (shown, text) => {
    // An unchanged text is not announced again.
    if (shown.textContent !== text) shown.textContent = text;
  };
  const say = (success = "", failure = "") => {
    set(good, success);
    set(bad, failure);
    if (failure) place.scrollIntoView({ block: "nearest" });
  };
  return { place, say };
}

const page = outcome();
document.getElementById("outcome").append(page.place);

/** Shows a message about a failure at the top of the page, or removes all messages there. */
export function notice(text = "") {
  page.say("", text);
}

/**
 * Runs an action of the user, and shows the text that it returns, or its failure: by `say`, or
 * at the top of the page. A second press during the action does nothing. Its button is not
 * disabled, since it would lose the keyboard's focus.
 */
export function attempt(action, say = page.say) {
  let running = false;
  return async (event) => {
    event?.preventDefault?.();
    if (running) return;
    running = true;
    say();
    try {
      say(await action(event));
    } catch (error) {
      say("", error.message);
    } finally {
      running = false;
    }
  };
}

/** Returns a form with a title, which shows the outcome of its action below its controls. */
export function form(title, action, ...children) {
  const { place, say } = outcome();
  const options = { class: "card", onsubmit: attempt(action, say), oninput: () => say() };
  return { whole: element("form", options, element("h3", {}, title), ...children, place), say };
}

/** Moves the focus to the heading of the page. */
export function focusHeading() {
  const heading = document.querySelector("main h2");
  heading?.setAttribute("tabindex", "-1");
  heading?.focus();
}

/** Returns a number with its noun. */
export function count(number, noun, nouns = `${noun}s`) {
  return `${number} ${number === 1 ? noun : nouns}`;
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

/** Adds a row at the top of a table, and removes a remark and the oldest rows beyond `most`. */
export function prepend(body, row, most) {
  body.querySelector(".remark")?.remove();
  body.prepend(row);
  while (body.rows.length > most) body.deleteRow(-1);
}
