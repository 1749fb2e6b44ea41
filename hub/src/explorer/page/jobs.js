// Jobs on many devices: list, create and cancel them, and the part of each device.

import { json, send } from "./api.js";
import { keepForm } from "./drafts.js";
import { attempt, clock, element, field, form, table } from "./elements.js";
import { repeat } from "./repeat.js";

const COLUMNS = ["Id", "Type", "Status", "Devices", "Created", "Ended", ""];
const METHOD = "scheduleDeviceMethod";
const TWIN = "scheduleUpdateTwin";
const MOST_DEVICES = 100;
const LABELS = { [METHOD]: "call a method", [TWIN]: "change twins" };

/** Shows the jobs. Returns the function that ends the page. */
export function jobs(main) {
  const text = (value = "") => element("input", { autocomplete: "off", spellcheck: "false", required: true, value });
  const id = text();
  const type = element("select", {}, ...Object.entries(LABELS).map(([value, label]) => element("option", { value }, label)));
  const condition = text("*");
  const method = text();
  const area = (value) => element("textarea", { rows: "5", spellcheck: "false", autocomplete: "off", value });
  const payload = area("null");
  const change = area('{\n  "tags": { "floor": 1 }\n}');
  const ofMethod = [field("Method", method), field("Payload as JSON", payload)];
  const ofTwin = [field("Tags and properties as JSON", change)];
  const choose = () => {
    const isMethod = type.value === METHOD;
    for (const shown of ofMethod) shown.hidden = !isMethod;
    for (const shown of ofTwin) shown.hidden = isMethod;
    method.required = isMethod;
  };
  type.addEventListener("change", choose);
  const creation = form(
    "Create a job",
    create,
    field("Id", id, "Letters, digits and -"),
    field("Work", type),
    field("Query condition", condition, "Such as tags.floor = 1, or * for all devices"),
    ...ofMethod,
    ...ofTwin,
    element("button", { class: "primary" }, "Start"),
  );
  const saved = keepForm("job", creation.whole);
  choose();
  const { whole, list } = table("Jobs", COLUMNS);
  const details = element("section", {});
  main.append(element("h2", {}, "Jobs"), element("div", { class: "scroll" }, whole), details, creation.whole);

  // The job whose devices are shown.
  let shown = null;
  function showDevices(job) {
    const { whole, list } = table(`Devices of ${job}`, ["Device", "Status", "Answer"]);
    const more = element("p", {});
    details.replaceChildren(element("div", { class: "scroll" }, whole), more);
    shown = { job, list, more };
  }

  async function create() {
    const isMethod = type.value === METHOD;
    let value;
    try {
      value = JSON.parse(isMethod ? payload.value : change.value);
    } catch (error) {
      throw new Error(`The ${isMethod ? "payload is" : "tags and properties are"} not JSON: ${error.message}`);
    }
    const work = isMethod
      ? { cloudToDeviceMethod: { methodName: method.value, payload: value, responseTimeoutInSeconds: 30 } }
      : { updateTwin: { etag: "*", ...value } };
    const job = { jobId: id.value, type: type.value, queryCondition: condition.value, ...work };
    await send(path(id.value), { method: "PUT", headers: { "content-type": "application/json" }, body: JSON.stringify(job) });
    id.value = "";
    saved();
    showDevices(job.jobId);
    await load();
    return `Started ${job.jobId}.`;
  }

  async function load() {
    const found = await json("api/jobs/v2/query");
    found.sort((one, other) => (one.createdTime < other.createdTime ? 1 : -1));
    list(found, row);
    if (!shown) return;
    const { job, list: listDevices, more } = shown;
    const parts = await partsOf(job);
    listDevices(parts.slice(0, MOST_DEVICES), partRow);
    more.textContent = parts.length > MOST_DEVICES ? `These are the first ${MOST_DEVICES} devices.` : "";
  }

  function row(found) {
    const cancel = attempt(async () => {
      await send(`${path(found.jobId)}/cancel`, { method: "POST" });
      await load();
      return `Cancelled ${found.jobId}.`;
    });
    const show = attempt(async () => {
      showDevices(found.jobId);
      await load();
    });
    const waits = found.status === "queued" || found.status === "scheduled";
    const { deviceCount = 0, succeededCount = 0, failedCount = 0 } = found.deviceJobStatistics ?? {};
    const done = found.type === METHOD ? "answered" : "changed";
    const failed = failedCount ? `, ${failedCount} failed` : "";
    return element(
      "tr",
      {},
      element("th", { scope: "row" }, found.jobId),
      element("td", {}, LABELS[found.type] ?? found.type),
      element("td", { title: found.failureReason ?? found.statusMessage }, found.status),
      element(
        "td",
        {},
        `${succeededCount} of ${deviceCount} ${done}${failed} `,
        element("button", { type: "button", "aria-label": `Devices of ${found.jobId}`, onclick: show }, "Show"),
      ),
      element("td", {}, clock(found.createdTime)),
      element("td", {}, found.endTime ? clock(found.endTime) : ""),
      element("td", {}, waits ? element("button", { type: "button", "aria-label": `Cancel ${found.jobId}`, onclick: cancel }, "Cancel") : ""),
    );
  }

  return repeat(load);
}

/** Returns the parts of up to one more device than are shown. */
function partsOf(job) {
  const query = `SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${job.replaceAll(/[\\']/g, "\\$&")}'`;
  const headers = { "x-ms-max-item-count": String(MOST_DEVICES + 1) };
  return json("api/devices/query", { method: "POST", headers, body: JSON.stringify({ query }) });
}

function partRow(part) {
  const answer = part.outcome?.deviceMethodResponse;
  const text = answer ? `${answer.status}: ${JSON.stringify(answer.payload)}` : (part.error?.description ?? "");
  return element(
    "tr",
    {},
    element("th", { scope: "row" }, part.deviceId),
    element("td", {}, part.status),
    element("td", {}, element("code", {}, text)),
  );
}

const path = (id) => `api/jobs/v2/${encodeURIComponent(id)}`;
