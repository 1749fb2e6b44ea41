// A broker of MQTT 5 for one device that does only what a test tells it, with mqtt-packet, the
// codec of MQTT.js. It is independent of the codecs of host and hub.
//
// Commands: `send` a packet, `end` the connection. Each packet of the device is an event
// `packet`, a new connection is `connection`, and its end is `closed`. Binary values are
// hexadecimal.

'use strict';

const fs = require('fs');
const readline = require('readline');
const tls = require('tls');

const mqtt = require('mqtt-packet');

function say(event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n');
}

/** Returns a copy of a packet in which buffers are hexadecimal. */
function readable(value) {
  if (Buffer.isBuffer(value)) return value.toString('hex');
  if (value === null || typeof value !== 'object') return value;
  if (Array.isArray(value)) return value.map(readable);
  return Object.fromEntries(Object.entries(value).map(([key, it]) => [key, readable(it)]));
}

let device;

const server = tls.createServer(
  {
    cert: fs.readFileSync(process.env.BROKER_CERTIFICATE),
    key: fs.readFileSync(process.env.BROKER_KEY),
    requestCert: true,
    rejectUnauthorized: false,
  },
  (socket) => {
    device = socket;
    const certificate = socket.getPeerCertificate();
    say('connection', { name: (certificate.subject || {}).CN || null });
    const parser = mqtt.parser({ protocolVersion: 5 });
    parser.on('packet', (packet) => say('packet', readable(packet)));
    parser.on('error', (error) => say('failed', { message: error.message }));
    socket.on('data', (bytes) => parser.parse(bytes));
    socket.on('error', () => {});
    socket.on('close', () => say('closed', {}));
  },
);

const commands = {
  send({ packet }) {
    if (packet.payload !== undefined) packet.payload = Buffer.from(packet.payload, 'hex');
    const properties = packet.properties || {};
    if (properties.correlationData) {
      properties.correlationData = Buffer.from(properties.correlationData, 'hex');
    }
    device.write(mqtt.generate(packet, { protocolVersion: 5 }));
  },
  // Bytes that no codec makes, such as a message with a wildcard in its topic.
  bytes({ bytes }) {
    device.write(Buffer.from(bytes, 'hex'));
  },
  end() {
    device.end();
  },
};

readline.createInterface({ input: process.stdin }).on('line', (line) => {
  const { do: command, ...options } = JSON.parse(line);
  commands[command](options);
});

server.listen(0, '127.0.0.1', () => {
  say('ready', {});
  say('listening', { port: server.address().port });
});
