// A device with MQTT 5 that follows the published steps of the profile `mqttV5`, with MQTT.js.
//
// The commands and events are those of ../mqtt5.py. The protobuf messages are encoded here by
// hand, independently of the hub.

'use strict';

const crypto = require('crypto');
const fs = require('fs');
const readline = require('readline');

const mqtt = require('mqtt');

const device = process.env.HUB_DEVICE;
const ready = Buffer.from([...Array(16).keys()]);

function say(event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n');
}

function varint(value) {
  const bytes = [];
  for (; value > 127; value = Math.floor(value / 128)) {
    bytes.push((value % 128) | 128);
  }
  return Buffer.from([...bytes, value]);
}

const number = (field, value) =>
  value ? Buffer.concat([varint(field << 3), varint(value)]) : Buffer.alloc(0);
const data = (field, value) =>
  Buffer.concat([varint((field << 3) | 2), varint(value.length), value]);

/** Returns the numbers and bytes of a message by their fields. */
function decode(message) {
  const fields = {};
  let at = 0;
  const read = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = message[at++];
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  while (at < message.length) {
    const key = read();
    let value = read();
    if ((key & 7) === 2) {
      at += value;
      value = message.subarray(at - value, at);
    }
    fields[key >> 3] = value;
  }
  return fields;
}

let client;
let nonce;
const probes = {};

function publish(feature, type, correlationData, body, qos) {
  const properties = { correlationData, userProperties: { type } };
  client.publish(`ih/${device}/srv/${feature}`, body, { qos, properties });
}

function received(message) {
  const { correlationData, userProperties, messageExpiryInterval } = message.properties;
  const fields = decode(message.payload);
  switch (userProperties.type) {
    case 'birth-ack:1':
      say('admitted', {
        own: correlationData.equals(nonce),
        desired: fields[10] || 0,
        reported: fields[11] || 0,
      });
      break;
    case 'twin-push:1': {
      const section = decode(fields[1]);
      say('push', { version: section[1], desired: JSON.parse(section[2]) });
      break;
    }
    case 'desired-patch:1':
      say('patch', { version: fields[1], desired: JSON.parse(fields[2]) });
      break;
    case 'get-response:1':
      say('twin', { desired: fields[1] || 0, reported: JSON.parse(fields[4]) });
      break;
    case 'reported-patch-response:1':
      say('reported', { outcome: fields[1] || 0, version: fields[2] || 0 });
      break;
    case 'probe:1': {
      const name = fields[1].toString();
      probes[correlationData.toString('hex')] = name;
      const rejected = name === 'reject' || !(messageExpiryInterval >= 2);
      const ack = rejected ? data(2, number(1, 3)) : data(1, data(1, ready));
      publish('methods', 'probe-ack:1', correlationData, ack, 1);
      break;
    }
    case 'exec:1': {
      const name = probes[correlationData.toString('hex')];
      const answer = JSON.stringify({ name, payload: JSON.parse(fields[2]) });
      const result = Buffer.concat([number(1, 200), data(2, Buffer.from(answer))]);
      publish('methods', 'result:1', correlationData, result, 1);
      break;
    }
  }
}

const commands = {
  connect({ certificate, private_key: key }) {
    nonce = crypto.randomBytes(16);
    client = mqtt.connect({
      protocol: 'mqtts',
      host: 'localhost',
      port: Number(process.env.HUB_MQTT_PORT),
      protocolVersion: 5,
      clientId: device,
      clean: false,
      username: `correlationId=${nonce.toString('hex')}&clientVersion=mqttjs`,
      // A lost connection is an event of its own, not repaired.
      reconnectPeriod: 0,
      ca: fs.readFileSync(process.env.HUB_CA_FILE),
      cert: fs.readFileSync(certificate),
      key: fs.readFileSync(key),
    });
    client.on('connect', (ack) => {
      say('connected', { code: ack.reasonCode });
      client.subscribe(`ih/${device}/dev/#`, { qos: 1 });
    });
    client.on('packetreceive', (packet) => {
      if (packet.cmd === 'suback') {
        say('subscribed', { codes: packet.granted });
        // Push desired properties.
        publish('presence', 'birth:1', nonce, number(12, 1), 0);
      } else if (packet.cmd === 'puback') {
        say('acknowledged', { code: packet.reasonCode || 0 });
      } else if (packet.cmd === 'disconnect') {
        say('disconnected', { code: packet.reasonCode });
      }
    });
    client.on('message', (_topic, _payload, packet) => received(packet));
    client.on('error', (error) => say('connected', { code: error.code }));
  },
  get() {
    publish('twin', 'get:1', crypto.randomBytes(16), number(1, 3), 0);
  },
  report({ version, body }) {
    const patch = Buffer.concat([number(1, version), data(2, Buffer.from(body))]);
    publish('twin', 'reported-patch:1', crypto.randomBytes(16), patch, 0);
  },
  publish({ topic, qos, retain }) {
    // The error of a refused message is the event `acknowledged`.
    client.publish(topic, 'x', { qos, retain: Boolean(retain) }, () => {});
  },
  disconnect() {
    client.end();
  },
};

say('ready', {});
const lines = readline.createInterface({ input: process.stdin });
lines.on('line', (line) => {
  const command = JSON.parse(line);
  commands[command.do](command);
});
lines.on('close', () => process.exit(0));
