// Sign-in, pages and colors.

import { json, onSignedOut, send } from "./api.js";
import { ask } from "./ask.js";
import { configurations } from "./configurations.js";
import { devices } from "./devices.js";
import { device } from "./device.js";
import { dropAll, isUnsaved } from "./drafts.js";
import { attempt, element, field, focusHeading, form, notice } from "./elements.js";
import { enrollments } from "./enrollments.js";
import { faults } from "./faults.js";
import { jobs } from "./jobs.js";

const PAGES = {
  devices: ["Devices", devices],
  configurations: ["Configurations", configurations],
  jobs: ["Jobs", jobs],
  faults: ["Faults", faults],
  enrollments: ["Enrollments", enrollments],
};

const main = document.getElementById("main");
const pages = document.getElementById("pages");
const signOut = document.getElementById("sign-out");
let leave = () => {};

/** Shows the page that the fragment of the address names. */
function show() {
  leave();
  notice();
  const [page, id, tab] = location.hash.replace(/^#\//, "").split("/").map(decoded);
  const [title, open] =
    page === "device" && id ? [id, (into) => device(into, id, tab)] : Object.hasOwn(PAGES, page) ? PAGES[page] : PAGES.devices;
  document.title = `${title} · behaviour-hub`;
  for (const link of document.querySelectorAll("nav a")) {
    const current = link.hash === `#/${page || "devices"}`;
    if (current) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  main.replaceChildren();
  leave = open(main);
}

function decoded(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** Shows the form in which the user signs in. */
function showSignIn(reason) {
  leave();
  leave = () => {};
  signOut.hidden = pages.hidden = true;
  notice(reason ?? "");
  document.title = "Sign in · behaviour-hub";
  const key = element("input", { type: "password", autocomplete: "off", required: true });
  const signIn = async () => {
    const body = JSON.stringify({ key: key.value });
    key.value = "";
    await send("session", { method: "POST", body });
    start();
    focusHeading();
  };
  const { whole } = form(
    "Sign in",
    signIn,
    element("p", {}, "Open the link that the hub has printed. It works once. Or enter the key of the policy iothubowner."),
    field("Key or connection string", key),
    element("button", { class: "primary" }, "Sign in"),
  );
  main.replaceChildren(whole);
  key.focus();
}

function start() {
  signOut.hidden = pages.hidden = false;
  show();
}

signOut.addEventListener("click", attempt(async () => {
  if (isUnsaved() && !(await ask("You have text that is not saved. It is lost when you sign out.", "Sign out"))) return;
  await send("session", { method: "DELETE" });
  dropAll();
  showSignIn();
}));

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});

window.addEventListener("hashchange", () => {
  if (location.hash.startsWith("#sign-in=")) location.reload();
  else if (!signOut.hidden) {
    show();
    // The link that had the focus can be gone.
    focusHeading();
  }
});

const theme = document.getElementById("theme");
theme.value = localStorage.getItem("theme") ?? "system";
const applyTheme = () => document.documentElement.setAttribute("data-theme", theme.value);
theme.addEventListener("change", () => {
  localStorage.setItem("theme", theme.value);
  applyTheme();
});
applyTheme();
onSignedOut(() => showSignIn("The session has ended."));

const link = location.hash.match(/^#sign-in=(\w+)$/)?.[1];
try {
  if (link) {
    // Neither the history nor a bookmark has the link.
    history.replaceState(null, "", "#/devices");
    await send("session", { method: "POST", body: JSON.stringify({ link }) });
    start();
  } else if ((await json("session")).signedIn) {
    start();
  } else {
    showSignIn();
  }
} catch (error) {
  showSignIn(error.message);
}
