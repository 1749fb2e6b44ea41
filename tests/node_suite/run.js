// Runs the end-to-end tests of azure-iot-sdk-node against behaviour-hub, and prints the numbers of
// each file. `just node-suite DIR` starts it, where DIR is the folder `e2etests` of a clone of
// https://github.com/Azure/azure-iot-sdk-node.
//
// The service SDK of Node has port 443 only, so this script needs a network namespace of its own,
// in which it listens on 443 and 8883.

'use strict';

const { execFileSync, spawn } = require('child_process');
const { once } = require('events');
const fs = require('fs');
const os = require('os');
const path = require('path');
const readline = require('readline');

const [program, folder] = process.argv.slice(2).map((name) => path.resolve(name));

/** Time after which a file is stopped. The slowest one needs about two minutes. */
const FILE_LIMIT_MS = 600_000;

/** Kinds of tests by their names, the first one that fits. `pattern` fits parts of names. */
const KINDS = [
  { name: 'amqp-device', pattern: 'Amqp' },
  { name: 'file-notice', pattern: 'File upload' },
  { name: 'event-hubs', pattern: 'eventhub clients|module messaging|able to send D2C', replaced: true },
  { name: 'c2d-sender', pattern: 'service clients c2d|able to receive C2D|Service sends 1 C2D', replaced: true },
  { name: 'unchanged', pattern: '' },
];
const RUN = KINDS.slice(2);

/** Files that look at all devices or configurations, or share a job, run alone and first. */
const ALONE = ['registry', 'configurations', 'job_client', 'module_crud'];

function kindOf(title) {
  return KINDS.find(({ pattern }) => new RegExp(pattern).test(title));
}

/** Returns the expression for mocha that selects the tests of a kind. */
function selection(kind) {
  const before = KINDS.slice(0, KINDS.indexOf(kind)).map(({ pattern }) => pattern);
  return `^(?!.*(${before.join('|')})).*(${kind.pattern})`;
}

/** Runs mocha and returns its JSON report. */
function mocha(file, { environment, scratch, name, options = [] }) {
  const report = path.join(scratch, `${name}.json`);
  const log = fs.openSync(path.join(scratch, `${name}.log`), 'w');
  const reporter = ['--exit', '--reporter', 'json', '--reporter-option', `output=${report}`];
  const command = [path.join(folder, 'node_modules/mocha/bin/mocha.js'), ...reporter, ...options, `test/${file}.js`];
  const child = spawn(process.execPath, command, { cwd: folder, env: environment, stdio: ['ignore', log, log] });
  const timer = setTimeout(() => child.kill(), FILE_LIMIT_MS);
  return new Promise((resolve) => {
    child.on('exit', () => {
      clearTimeout(timer);
      fs.closeSync(log);
      resolve(fs.existsSync(report) ? JSON.parse(fs.readFileSync(report, 'utf8')) : undefined);
    });
  });
}

/** Creates an authority of devices as the tests use it, and returns its certificate and key. */
function createAuthority(scratch) {
  const [certificate, key] = ['ca.pem', 'ca-key.pem'].map((name) => path.join(scratch, name));
  const options = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=suite'];
  execFileSync('openssl', [...options, '-out', certificate, '-keyout', key], { stdio: 'ignore' });
  return { certificate, key };
}

/** Starts a hub, and returns it with what it prints. */
async function startHub(scratch, authority) {
  const ca = path.join(scratch, 'hub-ca.pem');
  const options = ['--json', '--https-port', '443', '--ca-file', ca, '--device-ca-file', authority.certificate];
  const log = fs.openSync(path.join(scratch, 'hub.log'), 'w');
  const hub = spawn(program, options, { cwd: scratch, stdio: ['ignore', 'pipe', log] });
  const stopped = once(hub, 'exit').then(() => {
    throw new Error(`the hub did not start: see ${scratch}/hub.log`);
  });
  stopped.catch(() => {});
  const [line] = await Promise.race([once(readline.createInterface({ input: hub.stdout }), 'line'), stopped]);
  return { hub, ca, ready: JSON.parse(line) };
}

function environmentOf(connectionString, ca, authority) {
  const service = connectionString.replace('localhost:443', 'localhost');
  const base64 = (file) => fs.readFileSync(file).toString('base64');
  return {
    ...process.env,
    NODE_EXTRA_CA_CERTS: ca,
    IOTHUB_CONNECTION_STRING: service,
    IOTHUB_CA_ROOT_CERT: base64(authority.certificate),
    IOTHUB_CA_ROOT_CERT_KEY: base64(authority.key),
    EVENTHUB_CONNECTION_STRING: 'Endpoint=sb://localhost/;SharedAccessKeyName=a;SharedAccessKey=eA==;EntityPath=a',
    IOTHUB_CONN_STRING_INVALID_CERT: service,
    IOTHUB_DEVICE_CONN_STRING_INVALID_CERT: 'HostName=localhost;DeviceId=any;SharedAccessKey=eA==',
  };
}

async function main() {
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'node-suite-'));
  if (!fs.existsSync(path.join(folder, 'node_modules'))) {
    throw new Error(`no packages: run \`npm install\` in ${folder}`);
  }
  execFileSync('ip', ['link', 'set', 'lo', 'up']);
  const authority = createAuthority(scratch);
  const { hub, ca, ready } = await startHub(scratch, authority);
  const environment = environmentOf(ready.connectionString, ca, authority);

  const listed = {};
  const files = fs.readdirSync(path.join(folder, 'test')).map((name) => path.parse(name).name);
  for (const file of files) {
    const options = ['--dry-run'];
    const report = await mocha(file, { environment, scratch, name: `list-${file}`, options });
    const skipped = new Set(report.pending.map(({ fullTitle }) => fullTitle));
    const titles = report.tests.map(({ fullTitle }) => fullTitle).filter((title) => !skipped.has(title));
    if (titles.length > 0) listed[file] = titles;
  }

  const passed = {};
  const run = async (file, kind) => {
    if (!listed[file].some((title) => kindOf(title) === kind)) return;
    const own = { ...environment };
    // The tests of this file must not trust the hub.
    if (file === 'server_validation') delete own.NODE_EXTRA_CA_CERTS;
    const options = ['--grep', selection(kind)];
    if (kind.replaced) options.push('--require', path.join(__dirname, 'services.js'));
    const report = await mocha(file, { environment: own, scratch, name: `${file}-${kind.name}`, options });
    passed[`${file} ${kind.name}`] = report?.stats.passes ?? 0;
    for (const { fullTitle, err } of report?.failures ?? []) console.error(`${file}: ${fullTitle}: ${err.message}`);
    if (!report) console.error(`${file}: stopped, or no report: see ${scratch}/${file}-${kind.name}.log`);
  };
  const unchanged = KINDS.at(-1);
  for (const file of ALONE) await run(file, unchanged);
  const others = Object.keys(listed).filter((file) => !ALONE.includes(file));
  await Promise.all(RUN.flatMap((kind) => others.map((file) => run(file, kind))));
  hub.kill();

  const count = (file, kind) => listed[file].filter((title) => kindOf(title) === kind).length;
  const cell = (file, kind) => {
    const number = count(file, kind);
    if (number === 0) return '';
    return RUN.includes(kind) ? `${passed[`${file} ${kind.name}`] ?? 0} of ${number}` : `(${number})`;
  };
  const columns = [...KINDS].reverse();
  console.log(['| file', 'tests', ...columns.map(({ name }) => name)].join(' | ') + ' |');
  console.log('|---' + '|---:'.repeat(columns.length + 1) + '|');
  for (const file of Object.keys(listed)) {
    const cells = columns.map((kind) => cell(file, kind));
    console.log(`| ${[file, listed[file].length, ...cells].join(' | ')} |`);
  }
  const total = (numbers) => numbers.reduce((sum, each) => sum + each, 0);
  const totals = columns.map((kind) => {
    const number = total(Object.keys(listed).map((file) => count(file, kind)));
    const own = Object.keys(passed).filter((key) => key.endsWith(` ${kind.name}`));
    return RUN.includes(kind) ? `${total(own.map((key) => passed[key]))} of ${number}` : `(${number})`;
  });
  console.log(`| all | ${[total(Object.values(listed).map((each) => each.length)), ...totals].join(' | ')} |`);
}

main().catch((error) => {
  console.error(`error: ${error.message}`);
  process.exitCode = 1;
});
