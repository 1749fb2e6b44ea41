// Direct methods of a device: a form, and the history of all calls.

import { send, twinPath } from "./api.js";
import { keepForm } from "./drafts.js";
import { clock, element, field, form, pretty, prepend, table } from "./elements.js";

const MOST_ROWS = 100;

/** Shows the methods in a panel. */
export function methods(panel, id) {
  const name = element("input", { required: true, autocomplete: "off", spellcheck: "false" });
  const payload = element("textarea", { rows: "5", spellcheck: "false", autocomplete: "off" });
  const timeout = element("input", { type: "number", min: "5", max: "300", value: "30", required: true });
  const connect = element("input", { type: "number", min: "0", max: "300", value: "0", required: true });
  const answer = element("pre", { role: "status", "aria-label": "Answer", tabindex: "0" });
  const invocation = form(
    "Invoke a method",
    call,
    field("Method", name),
    field("Payload as JSON", payload, "Sent unchanged. Empty for null."),
    field("Response timeout in seconds", timeout, "5 to 300"),
    field("Connect timeout in seconds", connect, "0 to 300: time to wait for the device to connect"),
    element("button", { class: "primary" }, "Invoke"),
  );
  const saved = keepForm(`method of ${id}`, invocation.whole);
  const { whole, body, remark } = table("Calls since this page was opened", ["Time", "Method", "Payload", "Status", "Answer", "Duration"]);
  remark("none yet");
  panel.append(
    element("div", { class: "columns" }, invocation.whole, element("div", { class: "card" }, element("h3", {}, "Answer"), answer)),
    element("div", { class: "scroll" }, whole),
  );

  async function call() {
    answer.textContent = "";
    const text = payload.value.trim() || "null";
    try {
      JSON.parse(text);
    } catch (error) {
      throw new Error(`The payload is not JSON: ${error.message}`);
    }
    const seconds = (input) => Number.parseInt(input.value, 10);
    const body = `{"methodName":${JSON.stringify(name.value)},"responseTimeoutInSeconds":${seconds(timeout)},"connectTimeoutInSeconds":${seconds(connect)},"payload":${text}}`;
    answer.textContent = "Waiting for the device …";
    try {
      const response = await send(`${twinPath(id)}/methods`, { method: "POST", body });
      answer.textContent = pretty(await response.text());
      saved();
    } catch (error) {
      answer.textContent = error.message;
    }
  }

  return {
    receive: (kind, data) => {
      if (kind !== "method") return;
      const row = element(
        "tr",
        {},
        element("td", {}, clock(data.time)),
        element("th", { scope: "row" }, data.methodName),
        element("td", {}, element("code", {}, data.requestPayload)),
        element("td", {}, data.error === undefined ? String(data.status) : `error ${data.errorCode}`),
        element("td", {}, element("code", {}, data.error ?? data.payload)),
        element("td", {}, `${Math.round(data.milliseconds)} ms`),
      );
      prepend(body, row, MOST_ROWS);
    },
  };
}
