// Drives the explorer page of the hub in Chromium, and prints what it measures. Every step has a
// time limit. Ends with an error if a step fails.

const assert = require("node:assert/strict");
const fs = require("node:fs");
const https = require("node:https");
const net = require("node:net");
const { chromium } = require("playwright-core");

const { EXPLORER_LINK, HUB_TOKEN, CHROMIUM, DEVICE, ODD_DEVICE, SHOTS } = process.env;
const HUB = new URL(EXPLORER_LINK).origin;
const DEVICES = 5000;
const CHANGES = 1000;
const POLL_MS = 100;
const HOSTILE = `<img src=x onerror="window.hacked = true">`;

const agent = new https.Agent({ keepAlive: true });

/** Sends a request to the REST API, as another service would. */
function rest(method, path, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { method, agent, headers: { authorization: HUB_TOKEN, ...headers } };
    const request = https.request(`${HUB}${path}`, options, (response) => {
      let text = "";
      response.setEncoding("utf8");
      response.on("data", (chunk) => (text += chunk));
      response.on("end", () => {
        if (response.statusCode >= 300) reject(new Error(`${method} ${path}: ${response.statusCode} ${text}`));
        else resolve(text ? JSON.parse(text) : undefined);
      });
    });
    request.on("error", reject);
    request.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

const desire = (device, desired) => rest("PATCH", `/twins/${encodeURIComponent(device)}`, { properties: { desired } });

async function main() {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
  });
  try {
    // The system's store of certificates does not have the authority of the hub.
    const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1200, height: 840 } });
    context.setDefaultTimeout(30_000);
    const page = await context.newPage();
    const problems = [];
    page.on("pageerror", (error) => problems.push(`error in the page: ${error.message}`));
    page.on("console", (message) => {
      // Expected: a used link, a device that is offline, and a conflicting change.
      const expected = /status of (401|404|412) /.test(message.text());
      if (message.type() === "error" && !expected) problems.push(message.text());
    });
    page.on("dialog", (dialog) => {
      // Whoever expects the question before text is lost answers it.
      if (dialog.type() === "beforeunload") return;
      problems.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    await signsInOnce(context, page);
    await listsDevices(context, page);
    await rebootsByKeyboard(page);
    await refusesConflicts(page);
    await keepsUnsavedText(page);
    await showsHostileText(page);
    await showsTraffic(page);
    await pausesMessages(page);
    await showsModules(page);
    await admitsALostConnection(context);
    await setsFaults(page);
    await managesTheFleet(page);
    await fitsNarrowWindows(page);
    await showsEdgesOfControls(page);
    await measuresChanges(page);
    await signsOut(page);
    assert.deepEqual(problems, []);
  } finally {
    await browser.close();
    agent.destroy();
  }
}

async function shot(page, name) {
  if (!SHOTS) return;
  await page.evaluate(() => scrollTo(0, 0));
  const session = await page.context().newCDPSession(page);
  const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 75 });
  fs.writeFileSync(`${SHOTS}/explorer-${name}.webp`, Buffer.from(data, "base64"));
}

async function signsInOnce(context, page) {
  await page.goto(EXPLORER_LINK);
  await page.getByRole("link", { name: DEVICE, exact: true }).waitFor();
  assert.ok(!page.url().includes("sign-in"), "the link stays in the address");
  const [cookie] = await context.cookies();
  assert.deepEqual([cookie.httpOnly, cookie.secure, cookie.sameSite], [true, true, "Strict"]);
  const again = await context.browser().newContext({ ignoreHTTPSErrors: true });
  const stranger = await again.newPage();
  await stranger.goto(EXPLORER_LINK);
  await stranger.getByLabel("Key or connection string").waitFor();
  await again.close();
}

async function listsDevices(context, page) {
  const times = [];
  for (let run = 0; run < 5; run += 1) {
    const fresh = await context.newPage();
    await fresh.goto(`${HUB}/`, { waitUntil: "commit" });
    times.push(await fresh.evaluate(async () => {
      while (!document.querySelector("tbody tr")) await new Promise(requestAnimationFrame);
      const [paint] = performance.getEntriesByName("first-contentful-paint");
      return { paint: Math.round(paint?.startTime ?? 0), rows: Math.round(performance.now()) };
    }));
    await fresh.close();
  }
  console.log(`${DEVICES} devices, five loads: first paint ${times.map((t) => t.paint)} ms, list ${times.map((t) => t.rows)} ms`);
  await page.getByText(`${DEVICES + 2} devices, 1 connected. Page 1 shows 100.`).waitFor();
  await page.getByRole("button", { name: "Next page" }).click();
  await page.getByText("Page 2 shows 100.").waitFor();
  await page.getByRole("button", { name: "Previous page" }).click();
  await page.getByLabel("connected only").check();
  await page.getByText("Page 1 shows 1 match.").waitFor();
  await page.getByLabel("connected only").uncheck();
  await page.getByLabel("Part of the device id").fill("no-such-device");
  await page.getByRole("row", { name: "No device matches." }).waitFor();
  await page.getByLabel("Part of the device id").fill("");
  await page.getByText("Page 1 shows 100.").waitFor();
  await shot(page, "devices");
}

// Everything here is done with the keyboard alone.
async function rebootsByKeyboard(page) {
  const before = await rest("GET", `/twins/${DEVICE}`);
  const keyboard = page.keyboard;
  const focused = () => page.evaluate(() => document.activeElement?.textContent || document.activeElement?.type || document.activeElement?.tagName);
  const tabTo = async (text) => {
    for (let presses = 0; presses < 40; presses += 1) {
      if ((await focused()) === text) return;
      await keyboard.press("Tab");
    }
    throw new Error(`the key Tab does not reach ${text}`);
  };
  await page.reload();
  await page.getByRole("link", { name: "pump-00000" }).waitFor();
  await keyboard.press("Tab");
  assert.equal(await focused(), "Skip to the content", "the first press of Tab");
  await keyboard.press("Enter");
  await tabTo("search");
  await keyboard.type(DEVICE);
  await page.getByText("Page 1 shows 1 match.").waitFor();
  await tabTo(DEVICE);
  await keyboard.press("Enter");
  await page.getByRole("heading", { name: DEVICE, level: 2 }).and(page.locator(":focus")).waitFor();
  await tabTo("Twin");
  await keyboard.press("ArrowRight");
  await keyboard.press("Tab");
  await keyboard.press("Tab");
  await keyboard.type("rebootDevice");
  await tabTo("Invoke");
  await keyboard.press("Enter");
  await page.getByLabel("Answer").getByText(/"status": 20\d/).waitFor();
  await page.getByRole("row", { name: "rebootDevice" }).waitFor();
  assert.equal(await page.getByRole("row", { name: "none yet" }).count(), 0, "a table with calls is called empty");
  await shot(page, "method");
  await keyboard.press("Shift+Tab");
  await tabTo("Skip to the content");
  await tabTo("Methods");
  await keyboard.press("ArrowLeft");
  const row = page.locator("tr.changed", { hasText: "rebootTime" });
  await row.waitFor();
  const after = await rest("GET", `/twins/${DEVICE}`);
  const time = after.properties.reported.rebootTime;
  assert.notEqual(time, before.properties.reported.rebootTime);
  await row.getByText(time).waitFor();
  await shot(page, "twin");
}

/** Waits until the page says that an action has succeeded, and nothing about a failure. */
async function says(page, text) {
  await page.getByRole("status").getByText(text, { exact: true }).waitFor();
  assert.equal((await page.getByRole("alert").allTextContents()).join(""), "", "a failure is shown beside a success");
}

async function refusesConflicts(page) {
  const editor = page.getByLabel("Desired properties as JSON");
  const save = page.getByRole("button", { name: "Save", exact: true });
  await editor.fill(`{"interval": 5, "old": {"a": 1}}`);
  await save.click();
  await page.getByRole("row", { name: "old.a" }).waitFor();
  const { properties } = await rest("GET", `/twins/${DEVICE}`);
  await says(page, `Saved as version ${properties.desired.$version}.`);
  await editor.fill(`{"interval": 6}`);
  await desire(DEVICE, { other: 1 });
  await page.getByText("The desired properties have changed since you began to edit.").waitFor();
  await save.click();
  await page.getByText("Not saved: somebody else has changed the twin.").waitFor();
  const refused = await rest("GET", `/twins/${DEVICE}`);
  assert.equal(refused.properties.desired.interval, 5);
  await shot(page, "conflict");
  await page.getByRole("button", { name: "Keep my text" }).click();
  await save.click();
  await page.getByRole("row", { name: "old.a" }).waitFor({ state: "detached" });
  const saved = await rest("GET", `/twins/${DEVICE}`);
  const { $metadata, $version, ...desired } = saved.properties.desired;
  assert.deepEqual(desired, { interval: 6 });
  await editor.fill("[");
  await save.click();
  const failure = page.getByRole("alert").getByText("are not JSON");
  await failure.waitFor();
  const { y, height } = await failure.boundingBox();
  for (const name of ["Save", "Discard my changes", "Save the tags"]) {
    const button = await page.getByRole("button", { name, exact: true }).boundingBox();
    assert.ok(button.y + button.height <= y || y + height <= button.y, `the failure covers the button ${name}`);
  }
  await page.getByRole("button", { name: "Discard my changes" }).click();
  await failure.waitFor({ state: "hidden" });
}

// Text that is not saved is still there when its view is opened again.
async function keepsUnsavedText(page) {
  const desired = page.getByLabel("Desired properties as JSON");
  const tags = page.getByLabel("Tags as JSON");
  const id = page.getByLabel("Id", { exact: true });
  await desired.fill('{"unsaved": 1}');
  await tags.fill('{"unsaved": 2}');
  await page.getByRole("link", { name: "Configurations" }).click();
  await id.fill("unsaved");
  await page.getByRole("link", { name: "Jobs" }).click();
  await page.getByRole("heading", { name: "Jobs" }).waitFor();
  assert.equal(await id.inputValue(), "");
  await page.getByRole("link", { name: "Configurations" }).click();
  await page.getByRole("heading", { name: "Configurations" }).waitFor();
  assert.equal(await id.inputValue(), "unsaved");
  await page.goto(`${HUB}/#/device/${DEVICE}/twin`);
  await says(page, "This is your text from before. It is not saved.");
  assert.deepEqual([await desired.inputValue(), await tags.inputValue()], ['{"unsaved": 1}', '{"unsaved": 2}']);
  const [question] = await Promise.all([page.waitForEvent("dialog"), page.evaluate(() => void setTimeout(() => location.reload()))]);
  assert.equal(question.type(), "beforeunload");
  await question.dismiss();
  assert.equal(await desired.inputValue(), '{"unsaved": 1}');
  await page.getByRole("button", { name: "Discard my changes" }).click();
  await tags.fill("{}");
}

async function showsHostileText(page) {
  await page.getByRole("link", { name: "All devices" }).click();
  await page.getByLabel("Part of the device id").fill(ODD_DEVICE);
  await page.getByRole("link", { name: ODD_DEVICE, exact: true }).click();
  await page.getByRole("tab", { name: "Twin" }).waitFor();
  await desire(ODD_DEVICE, { [HOSTILE.replaceAll(/[. ]/g, "_")]: HOSTILE, ["__proto__"]: { hacked: true } });
  await page.getByText(HOSTILE.replaceAll('"', '\\"')).first().waitFor();
  for (const name of ["MQTT traffic", "Telemetry", "Methods"]) {
    await page.getByRole("tab", { name }).click();
    await page.getByRole("tabpanel", { name }).getByRole("row", { name: "none yet" }).waitFor();
  }
  await page.getByLabel("Method", { exact: true }).fill("m");
  await page.getByLabel("Payload as JSON").fill(JSON.stringify(HOSTILE));
  await page.getByRole("button", { name: "Invoke" }).click();
  await page.getByLabel("Answer").getByText("404").waitFor();
  await page.getByRole("cell", { name: "onerror" }).waitFor();
  assert.deepEqual(await page.evaluate(() => [window.hacked, {}.hacked, document.images.length]), [undefined, undefined, 0]);
  await page.getByLabel("Payload as JSON").fill("{");
  await page.getByRole("button", { name: "Invoke" }).click();
  await page.getByRole("alert").getByText("is not JSON").waitFor();
  assert.equal(await page.getByLabel("Answer").textContent(), "", "an earlier answer is shown beside the failure");
}

async function showsTraffic(page) {
  await page.getByLabel("Colors").selectOption("dark");
  await page.goto(`${HUB}/#/device/${DEVICE}/traffic`);
  await page.getByText("live", { exact: true }).waitFor();
  await rest("POST", `/twins/${DEVICE}/methods`, { methodName: "rebootDevice", payload: { note: "traffic" }, responseTimeoutInSeconds: 30 });
  const panel = page.getByRole("tabpanel", { name: "MQTT traffic" });
  await panel.getByRole("row", { name: "to the device" }).filter({ hasText: "$iothub/methods/POST/rebootDevice" }).first().waitFor();
  await panel.getByRole("row", { name: "from the device" }).filter({ hasText: "$iothub/methods/res/" }).first().waitFor();
  await shot(page, "traffic");
  await page.getByLabel("Colors").selectOption("system");
}

// The modules of a device come and go with the events of the hub.
async function showsModules(page) {
  const path = `/devices/${encodeURIComponent(ODD_DEVICE)}/modules`;
  await page.goto(`${HUB}/#/device/${encodeURIComponent(ODD_DEVICE)}/twin`);
  await page.getByText("live", { exact: true }).waitFor();
  const modules = page.getByRole("list", { name: "Modules" });
  for (const moduleId of ["camera", "oven"]) await rest("PUT", `${path}/${moduleId}`, { deviceId: ODD_DEVICE, moduleId });
  await modules.getByRole("listitem").filter({ hasText: "camera disconnected" }).waitFor();
  await modules.getByRole("listitem").filter({ hasText: "oven disconnected" }).waitFor();
  await page.getByRole("link", { name: "All devices" }).click();
  await modules.waitFor({ state: "detached" });
  await page.goBack();
  await modules.getByRole("listitem").filter({ hasText: "oven" }).waitFor();
  for (const moduleId of ["camera", "oven"]) await rest("DELETE", `${path}/${moduleId}`, undefined, { "if-match": "*" });
  await modules.waitFor({ state: "hidden" });
}

// Messages of a pause are counted and shown after it.
async function pausesMessages(page) {
  const panel = page.getByRole("tabpanel", { name: "MQTT traffic" });
  const call = panel.getByRole("row", { name: "to the device" }).filter({ hasText: "during the pause" });
  await panel.getByRole("button", { name: "Pause" }).click();
  await panel.getByRole("button", { name: "Resume (0 new)" }).waitFor();
  await rest("POST", `/twins/${DEVICE}/methods`, { methodName: "rebootDevice", payload: { note: "during the pause" }, responseTimeoutInSeconds: 30 });
  const resume = panel.getByRole("button", { name: /Resume \([1-9]\d* new\)/ });
  await resume.waitFor();
  assert.equal(await call.count(), 0, "a message is shown during a pause");
  await resume.click();
  await call.waitFor();
  await panel.getByRole("button", { name: "Pause" }).waitFor();
}

/** Forwards connections to the hub until it is stopped, as the hub itself cannot be. */
class Gate {
  sockets = new Set();
  server = net.createServer((near) => {
    const far = net.connect(Number(new URL(HUB).port), "localhost");
    for (const [one, other] of [[near, far], [far, near]]) {
      this.sockets.add(one);
      one.on("error", () => {});
      one.on("close", () => {
        this.sockets.delete(one);
        other.destroy();
      });
      one.pipe(other);
    }
  });

  listen(port) {
    return new Promise((done) => this.server.listen(port, "localhost", () => done(this.server.address().port)));
  }

  stop() {
    const closed = new Promise((done) => this.server.close(done));
    for (const socket of this.sockets) socket.destroy();
    return closed;
  }
}

// Without a connection, the page does not claim to know the state of a device.
async function admitsALostConnection(context) {
  const gate = new Gate();
  const port = await gate.listen(0);
  const page = await context.newPage();
  const live = page.getByText("live", { exact: true });
  const lost = page.getByText("connection lost, retrying");
  const state = page.getByRole("heading", { name: DEVICE });
  await page.goto(`https://localhost:${port}/#/device/${DEVICE}/twin`);
  for (const view of [null, "Configurations", "Jobs", "Faults", "Enrollments", "Devices"]) {
    if (view) await page.getByRole("link", { name: view, exact: true }).click();
    else await state.getByText("connected", { exact: true }).waitFor();
    await live.waitFor();
    await gate.stop();
    await lost.waitFor();
    if (!view) await state.getByText("unknown").waitFor();
    if (view === "Devices") await page.getByText("This is the last list that the hub has sent.").waitFor();
    await gate.listen(port);
    await live.waitFor();
    if (!view) await state.getByText("connected", { exact: true }).waitFor();
  }
  await page.close();
  await gate.stop();
}

async function setsFaults(page) {
  await page.getByRole("link", { name: "Faults" }).click();
  const effect = page.getByLabel("Effect");
  const device = page.getByLabel("Device", { exact: true });
  const set = page.getByRole("button", { name: "Set the fault" });
  await effect.selectOption("delay");
  await device.fill(DEVICE);
  await page.getByLabel("Delay in milliseconds").fill("100");
  await page.getByLabel("Number that fails").fill("3");
  await set.click();
  await says(page, "Set delay at method.");
  await page.getByRole("row", { name: "delay" }).filter({ hasText: DEVICE }).filter({ hasText: "100 ms late, 3 times, within 60 s" }).waitFor();
  await rest("POST", "/$faults", { effect: "lose", step: "method", device: DEVICE });
  await page.getByRole("button", { name: "Remove delay at method" }).click();
  await says(page, "Removed delay at method.");
  await page.getByRole("row", { name: "delay" }).waitFor({ state: "detached" });
  await page.getByRole("row", { name: "lose" }).waitFor();
  await page.getByRole("button", { name: "Remove all faults" }).click();
  await page.getByRole("row", { name: "lose" }).waitFor({ state: "detached" });
  await says(page, "Removed all faults.");
  await effect.selectOption("restart");
  for (const label of ["Device", "Step of the protocol", "Lifetime in seconds"]) {
    assert.ok(await page.getByLabel(label, { exact: true }).isHidden(), `a restart asks for: ${label}`);
  }
  await effect.selectOption("drop");
  await device.fill(ODD_DEVICE);
  await set.click();
  await page.getByRole("alert").getByText("is not connected").waitFor();
  await offersPossibleFaults(page, effect);
  await page.getByRole("link", { name: "Enrollments" }).click();
  await page.getByRole("row", { name: "none yet" }).first().waitFor();
}

// The form offers all effects and steps of the hub, and exactly the steps of each effect that the hub accepts.
async function offersPossibleFaults(page, effect) {
  const values = (select) => select.evaluate(({ options }) => [...options].map(({ value, disabled }) => (disabled ? null : value)).filter(Boolean));
  const step = page.locator("select", { hasText: "now, at no step" });
  const steps = (await step.evaluate(({ options }) => [...options].map(({ value }) => value))).filter((name) => name !== "now");
  const known = async (fault) => {
    const refused = await rest("POST", "/$faults", fault).catch((error) => error);
    return [...refused.message.matchAll(/`([a-z-]+)`/g)].map(([, name]) => name).toSorted();
  };
  assert.deepEqual((await values(effect)).toSorted(), await known({ effect: "" }));
  assert.deepEqual(steps.toSorted(), await known({ effect: "lose", step: "" }));
  for (const name of await values(effect)) {
    await effect.selectOption(name);
    const offered = await values(step);
    const accepted = [];
    for (const at of steps) {
      const fault = { effect: name, step: at, device: "no-device", ms: 1, code: 1 };
      const refused = await rest("POST", "/$faults", fault).then(() => null, (error) => error);
      if (!refused) accepted.push(at);
      else assert.match(refused.message, /: 400 /);
    }
    await rest("DELETE", "/$faults");
    assert.deepEqual(offered.filter((at) => at !== "now"), accepted, `the steps of ${name}`);
  }
}

// A view whose twin has not arrived takes no text, since the twin would replace it.
async function waitsForTheTwin(page) {
  const twins = (url) => url.pathname.includes("/twins/");
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await page.route(twins, async (route) => {
    await released;
    await route.continue();
  });
  await page.goto(`${HUB}/#/device/${encodeURIComponent(DEVICE)}/twin`);
  const editors = ["Tags as JSON", "Desired properties as JSON"].map((label) => page.getByLabel(label));
  for (const editor of editors) assert.ok(await editor.isDisabled(), "an editor without a twin takes text");
  release();
  for (const editor of editors) await editor.and(page.locator(":enabled")).waitFor();
  await page.unroute(twins);
}

async function managesTheFleet(page) {
  await waitsForTheTwin(page);
  const tags = page.getByLabel("Tags as JSON");
  const save = page.getByRole("button", { name: "Save the tags" });
  const hasFloor = (number) => page.getByRole("row", { name: "floor" }).getByRole("cell", { name: String(number), exact: true }).waitFor();
  const desired = page.getByLabel("Desired properties as JSON");
  await desired.fill('{"draft": true}');
  await tags.fill('{"floor": 7}');
  await save.click();
  await hasFloor(7);
  await says(page, "The tags are saved.");
  assert.equal(await page.getByText("since you began to edit").count(), 0, "tags conflict with desired properties");
  await rest("PATCH", `/twins/${encodeURIComponent(DEVICE)}`, { tags: { floor: 5 } });
  await hasFloor(5);
  await tags.fill('{"floor": 6}');
  await rest("PATCH", `/twins/${encodeURIComponent(DEVICE)}`, { tags: { floor: 4 } });
  await hasFloor(4);
  await save.click();
  await page.getByRole("alert").getByText("Save again to replace its current tags.").waitFor();
  assert.equal(await tags.inputValue(), '{"floor": 6}');
  await tags.fill('{"floor": 7}');
  await save.click();
  await hasFloor(7);
  assert.equal(await desired.inputValue(), '{"draft": true}');
  await page.getByRole("button", { name: "Discard my changes" }).click();
  await page.getByRole("link", { name: "Configurations" }).click();
  await page.getByLabel("Id", { exact: true }).fill("by-page");
  await page.getByLabel("Target condition").fill("tags.floor = 7");
  await page.getByLabel("Content as JSON").fill('{"properties.desired.byPage": true}');
  await page.getByRole("button", { name: "Create", exact: true }).click();
  await says(page, "Created by-page.");
  await page.getByRole("row", { name: "by-page" }).filter({ hasText: "1 of 1" }).waitFor();
  const remove = page.getByRole("button", { name: "Delete by-page" });
  const { x, width } = await remove.boundingBox();
  assert.ok(x + width <= page.viewportSize().width, "the button is outside of the window");
  await shot(page, "configurations");
  const twin = await rest("GET", `/twins/${encodeURIComponent(DEVICE)}`);
  assert.equal(twin.properties.desired.byPage, true);
  const question = page.getByRole("dialog", { name: "Delete by-page? The hub removes its properties from 1 device." });
  await remove.click();
  await question.getByRole("button", { name: "Cancel" }).click();
  await question.waitFor({ state: "detached" });
  await rest("GET", "/configurations/by-page");
  await remove.click();
  await question.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("row", { name: "by-page" }).waitFor({ state: "detached" });
  await says(page, "Deleted by-page.");

  await page.getByRole("link", { name: "Jobs" }).click();
  await page.getByLabel("Id", { exact: true }).fill("job-by-page");
  await page.getByLabel("Work").selectOption("scheduleUpdateTwin");
  assert.ok(await page.getByLabel("Method", { exact: true }).isHidden(), "a change of twins asks for a method");
  await page.getByLabel("Query condition").fill("tags.floor = 7");
  await page.getByLabel("Tags and properties as JSON").fill('{"tags": {"floor": 8}}');
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await says(page, "Started job-by-page.");
  await page.getByRole("row", { name: "job-by-page" }).filter({ hasText: "1 of 1 changed" }).waitFor();
  const moved = await rest("GET", `/twins/${encodeURIComponent(DEVICE)}`);
  assert.equal(moved.tags.floor, 8);
  // An answer of the device does not mean that the method has succeeded.
  await page.getByLabel("Id", { exact: true }).fill("call-by-page");
  await page.getByLabel("Work").selectOption("scheduleDeviceMethod");
  await page.getByLabel("Query condition").fill("tags.floor = 8");
  await page.getByLabel("Method", { exact: true }).fill("noSuchMethod");
  await page.getByRole("button", { name: "Start", exact: true }).click();
  await page.getByRole("row", { name: "call-by-page" }).filter({ hasText: "1 of 1 answered" }).waitFor();
  const devices = page.getByRole("table", { name: "Devices of call-by-page" });
  await devices.getByRole("row", { name: DEVICE }).filter({ hasText: "404" }).waitFor();
  await shot(page, "jobs");
  await page.getByRole("button", { name: "Devices of job-by-page" }).click();
  await page.getByRole("table", { name: "Devices of job-by-page" }).getByRole("row", { name: DEVICE }).waitFor();
}

// Only tables scroll sideways, within their own boxes.
async function fitsNarrowWindows(page) {
  const window = page.viewportSize();
  await page.setViewportSize({ width: 375, height: 700 });
  const views = ["devices", "configurations", "jobs", "faults", "enrollments"];
  const tabs = ["twin", "methods", "telemetry", "traffic"].map((tab) => `device/${DEVICE}/${tab}`);
  for (const view of [...views, ...tabs]) {
    await page.goto(`${HUB}/#/${view}`);
    const name = new RegExp(view.split("/").at(-1), "i");
    const shown = tabs.includes(view) ? page.getByRole("tab", { name, selected: true }) : page.getByRole("heading", { name, level: 2 });
    await shown.waitFor();
    const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert.ok(inner <= outer, `${view} is ${inner} pixels wide in a window of ${outer}`);
  }
  await page.goto(`${HUB}/#/device/${DEVICE}/twin`);
  const value = page.getByRole("row", { name: "rebootTime" }).getByRole("cell").first();
  const { width } = await value.boundingBox();
  assert.ok(width > 110, `a value of a twin has ${width} pixels`);
  await page.setViewportSize(window);
}

// WCAG 1.4.11 asks for a contrast of 3:1 between a control and what is around it.
async function showsEdgesOfControls(page) {
  await page.goto(`${HUB}/#/faults`);
  await page.getByRole("button", { name: "Set the fault" }).waitFor();
  for (const theme of ["light", "dark"]) {
    await page.getByLabel("Colors").selectOption(theme);
    const contrasts = await page.evaluate(() => {
      const luminance = (color) => {
        const linear = color.match(/\d+/g).slice(0, 3).map((part) => (part <= 10 ? part / 3294.6 : ((part / 255 + 0.055) / 1.055) ** 2.4));
        return linear[0] * 0.2126 + linear[1] * 0.7152 + linear[2] * 0.0722;
      };
      const behind = (node) => {
        const color = getComputedStyle(node).backgroundColor;
        return color === "rgba(0, 0, 0, 0)" ? behind(node.parentElement) : color;
      };
      const controls = [...document.querySelectorAll("input, select, textarea, button")].filter((control) => control.checkVisibility());
      return controls.map((control) => {
        const edge = luminance(getComputedStyle(control).borderTopColor);
        const around = luminance(behind(control.parentElement));
        return (Math.max(edge, around) + 0.05) / (Math.min(edge, around) + 0.05);
      });
    });
    assert.ok(contrasts.length > 5 && Math.min(...contrasts) >= 3, `contrasts of edges, ${theme}: ${contrasts}`);
  }
  await page.getByLabel("Colors").selectOption("system");
}

// A change carries the time at which the hub had it: the request has been answered by then.
async function measuresChanges(page) {
  await page.goto(`${HUB}/#/device/${encodeURIComponent(ODD_DEVICE)}/twin`);
  await page.getByText("live", { exact: true }).waitFor();
  await page.evaluate(() => {
    window.seen = new Map();
    const look = () => {
      for (const row of document.querySelectorAll("tbody tr")) {
        if (row.cells[0].textContent === "measured" && !window.seen.has(row.cells[1].textContent)) {
          window.seen.set(row.cells[1].textContent, Date.now());
        }
      }
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true, characterData: true });
  });
  const [had, polled] = [new Map(), new Map()];
  let polling = true;
  const poll = (async () => {
    while (polling) {
      const twin = await rest("GET", `/twins/${encodeURIComponent(ODD_DEVICE)}`);
      const { measured } = twin.properties.desired;
      if (measured !== undefined && !polled.has(measured)) polled.set(measured, Date.now());
      await new Promise((done) => setTimeout(done, POLL_MS));
    }
  })();
  for (let change = 0; change < CHANGES; change += 1) {
    await desire(ODD_DEVICE, { measured: change });
    had.set(change, Date.now());
    await page.waitForFunction((wanted) => window.seen.has(wanted), String(change), { polling: 5 });
  }
  polling = false;
  await poll;
  const seen = new Map(await page.evaluate(() => [...window.seen]));
  const streamed = [...had].map(([change, time]) => Math.max(0, seen.get(String(change)) - time));
  const missed = CHANGES - [...had.keys()].filter((change) => polled.has(change)).length;
  const late = [...polled].filter(([change]) => had.has(change)).map(([change, time]) => Math.max(0, time - had.get(change)));
  console.log(`${CHANGES} changes of a twin on the page: ${summary(streamed)}`);
  console.log(`polling by REST every ${POLL_MS} ms in the same run: ${missed} changes never seen, the others ${summary(late)}`);
}

function summary(times) {
  const sorted = times.toSorted((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))];
  return `median ${at(0.5)} ms, 99th percentile ${at(0.99)} ms, maximum ${at(1)} ms`;
}

async function signsOut(page) {
  const question = page.getByRole("dialog", { name: "You have text that is not saved." });
  const signOut = page.getByRole("button", { name: "Sign out" });
  await signOut.click();
  await question.getByRole("button", { name: "Cancel" }).click();
  await signOut.click();
  await question.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Key or connection string").waitFor();
  assert.equal(await page.getByRole("navigation").count(), 0, "a signed-out user sees the pages");
  await page.goto(`${HUB}/#/devices`);
  await page.reload();
  await page.getByLabel("Key or connection string").waitFor();
}

main().then(
  () => console.log("done"),
  (error) => {
    console.log(`failed: ${error.stack}`);
    process.exitCode = 1;
  },
);
