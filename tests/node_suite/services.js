// Replaces the AMQP connections of services in the Node suite by requests that behaviour-hub
// offers: the receiver of Event Hubs by `GET /$events`, and the sender of cloud-to-device messages
// by `POST /devices/ID/messages/devicebound`. Preloaded by mocha; the tests are unchanged.

'use strict';

const https = require('https');
const Module = require('module');
const { createRequire } = Module;

const load = createRequire(process.cwd() + '/package.json');
const { Client, ConnectionString, SharedAccessSignature } = load('azure-iothub');
const { Message, results } = load('azure-iot-common');

const service = ConnectionString.parse(process.env.IOTHUB_CONNECTION_STRING);

function request(method, path, headers, answered) {
  const expiry = Math.ceil(Date.now() / 1000) + 3600;
  const { HostName: host, SharedAccessKeyName: policy, SharedAccessKey: key } = service;
  const token = SharedAccessSignature.create(host, policy, key, expiry).toString();
  return https.request({ host, path, method, agent: false, headers: { Authorization: token, ...headers } }, answered);
}

/** Receiver of events, which has the part of the interface that the tests use. */
class EventHubConsumerClient {
  subscribe({ processEvents, processError }) {
    this.request = request('GET', '/$events?kinds=telemetry', {}, (answer) => {
      if (answer.statusCode !== 200) {
        processError(new Error(`the stream of events was answered with ${answer.statusCode}`));
        return;
      }
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (part) => {
        const blocks = (text + part).split('\n\n');
        text = blocks.pop();
        for (const block of blocks) {
          const line = block.split('\n').find((each) => each.startsWith('data:'));
          if (line) processEvents([received(JSON.parse(line.slice('data:'.length)))]);
        }
      });
    });
    this.request.on('error', (error) => this.closed || processError(error));
    this.request.end();
  }

  async close() {
    this.closed = true;
    this.request?.destroy();
  }
}

/** Returns an event of the hub in the form of Event Hubs. */
function received(event) {
  const { body, bodyBase64, properties } = event;
  return {
    body: bodyBase64 === undefined ? Buffer.from(body) : Buffer.from(bodyBase64, 'base64'),
    messageId: properties['$.mid'] ?? properties['message-id'],
    systemProperties: properties,
  };
}

Client.prototype.open = (callback) => callback(null, new results.Connected());
Client.prototype.close = (callback) => callback(null, new results.Disconnected());
Client.prototype.send = (device, content, callback) => {
  const message = content instanceof Message ? content : new Message(content);
  const properties = { 'iothub-messageid': message.messageId, 'iothub-expiry': message.expiryTimeUtc };
  for (let at = 0; at < message.properties.count(); at += 1) {
    const { key, value } = message.properties.getItem(at);
    properties['iothub-app-' + key] = value;
  }
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined) delete properties[name];
    else properties[name] = String(value);
  }
  const headers = { 'Content-Type': 'application/vnd.microsoft.iothub.json' };
  const path = `/devices/${encodeURIComponent(device)}/messages/devicebound`;
  const sent = request('POST', path, headers, (answer) => {
    answer.resume();
    if (answer.statusCode >= 300) callback(new Error(`the message was answered with ${answer.statusCode}`));
    else callback(null, new results.MessageEnqueued());
  });
  sent.on('error', callback);
  sent.end(JSON.stringify([{ body: message.getBytes().toString('base64'), properties }]));
};

const loadModule = Module._load;
Module._load = function (name, ...rest) {
  return name === '@azure/event-hubs' ? { EventHubConsumerClient } : loadModule.call(this, name, ...rest);
};
