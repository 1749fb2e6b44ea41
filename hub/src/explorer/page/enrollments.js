// Enrollments and groups of the Device Provisioning Service of the hub.

import { send } from "./api.js";
import { element, table } from "./elements.js";
import { repeat } from "./repeat.js";

const KINDS = [
  ["Enrollments", "enrollments", (entry) => entry.registrationId],
  ["Enrollment groups", "enrollmentGroups", (entry) => entry.enrollmentGroupId],
];
const MOST_PAGES = 20;

/** Shows the enrollments. Returns the function that ends the page. */
export function enrollments(main) {
  main.append(element("h2", {}, "Enrollments"));
  const loads = KINDS.map(([title, path, id]) => {
    const { whole, list } = table(title, ["Id", "Attestation", "Status", "Reprovisioning"]);
    main.append(element("div", { class: "scroll" }, whole));
    return async () => list(await all(path), (entry) => element(
      "tr",
      {},
      element("th", { scope: "row" }, id(entry) ?? ""),
      element("td", {}, entry.attestation?.type ?? ""),
      element("td", {}, entry.provisioningStatus ?? ""),
      element("td", {}, policy(entry.reprovisionPolicy)),
    ));
  });
  return repeat(async () => {
    for (const load of loads) await load();
  });
}

async function all(path) {
  const entries = [];
  const body = JSON.stringify({ query: "SELECT * FROM enrollments" });
  let headers = {};
  for (let page = 0; page < MOST_PAGES; page += 1) {
    const response = await send(`api/${path}/query`, { method: "POST", headers, body });
    entries.push(...(await response.json()));
    const next = response.headers.get("x-ms-continuation");
    if (!next) break;
    headers = { "x-ms-continuation": next };
  }
  return entries;
}

function policy(found) {
  if (!found) return "";
  if (found.migrateDeviceData) return "keeps the twin";
  return found.updateHubAssignment ? "resets the twin" : "none";
}
