// A service that manages configurations and jobs, with the official Node SDK of IoT Hub.
//
// A command on standard input is `{"do": NAME, "arguments": [...]}`, where the name is that of a
// function of the SDK, and an event on standard output is `{"event": NAME, ...}`, one JSON object
// per line. The script stops at the end of its input.

'use strict';

const https = require('https');
const readline = require('readline');

// The clients cannot select a port for HTTPS, and have agents of their own.
https.Agent = class extends https.Agent {
  constructor(options) {
    super(options);
    this.defaultPort = Number(process.env.HUB_HTTPS_PORT);
  }
};

const { JobClient, Registry } = require('azure-iothub');

const registry = Registry.fromConnectionString(process.env.IOTHUB_CONNECTION_STRING);
const jobs = JobClient.fromConnectionString(process.env.IOTHUB_CONNECTION_STRING);

function say(event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n');
}

/** Returns a date for the text of a time, and every other value unchanged. */
function revived(value) {
  return /^\d{4}-\d\d-\d\dT/.test(value) ? new Date(value) : value;
}

/** Calls a function of the SDK that takes a callback. */
function call(target, name, ...parameters) {
  return new Promise((resolve, reject) => {
    target[name](...parameters.map(revived), (error, result) => (error ? reject(error) : resolve(result)));
  });
}

const commands = {
  getJobs: async () => call(jobs.createQuery(), 'next'),
};

async function perform({ do: name, arguments: parameters }) {
  const own = commands[name];
  // The registry has functions of the same names for imports and exports.
  const target = name in jobs ? jobs : registry;
  try {
    const result = await (own ? own() : call(target, name, ...parameters));
    say('done', { result: result === undefined ? null : result });
  } catch (error) {
    say('refused', { name: error.name, message: error.message });
  }
}

async function main() {
  say('ready');
  for await (const line of readline.createInterface({ input: process.stdin })) {
    await perform(JSON.parse(line));
  }
  process.exit(0);
}

main();
