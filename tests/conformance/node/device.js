// A device or a module with the official Node SDK.
//
// A command on standard input is `{"do": NAME, ...}`, and an event on standard output is
// `{"event": NAME, ...}`, one JSON object per line. The script stops at the end of its input.

'use strict';

const fs = require('fs');
const readline = require('readline');

const { Client, Message, ModuleClient } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const identity = process.env.IOTHUB_DEVICE_CONNECTION_STRING;
const isModule = identity.includes('ModuleId=');
const client = (isModule ? ModuleClient : Client).fromConnectionString(identity, Mqtt);

function say(event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n');
}

const commands = {
  /** Receives cloud-to-device messages and completes them. */
  async receive() {
    client.on('message', (message) => {
      const properties = {};
      for (const { key, value } of message.properties.propertyList) {
        properties[key] = value;
      }
      const { messageId, correlationId, contentType } = message;
      const body = message.getData().toString();
      say('message', { body, messageId, correlationId, contentType, properties });
      client.complete(message, (error) => say(error ? 'failed' : 'completed', {}));
    });
    say('receiving', {});
  },

  async answerMethods({ name }) {
    const answer = (request, response) => {
      const payload = { name: request.methodName, payload: request.payload };
      response.send(200, payload, () => say('answered', {}));
    };
    // The two clients have different names for this.
    (isModule ? client.onMethod : client.onDeviceMethod).call(client, name, answer);
    say('answering', {});
  },

  async report({ patch }) {
    const twin = await client.getTwin();
    twin.on('properties.desired', (delta) => say('desired', { patch: delta }));
    await new Promise((resolve, reject) => {
      twin.properties.reported.update(patch, (error) => (error ? reject(error) : resolve()));
    });
    say('reported', {});
  },

  async send({ body, properties }) {
    const message = new Message(body);
    for (const [key, value] of Object.entries(properties)) {
      message.properties.add(key, value);
    }
    await client.sendEvent(message);
    say('sent', {});
  },
};

(async () => {
  try {
    await client.setOptions({ ca: fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS, 'utf8') });
    await client.open();
    say('ready', {});
  } catch (error) {
    say('refused', { name: error.name, message: error.message });
    process.exit(0);
  }
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      await commands[command.do](command);
    } catch (error) {
      say('failed', { name: error.name, message: error.message });
    }
  }
  process.exit(0);
})();
