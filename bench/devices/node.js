// A device on the official Node SDK: `echo` and `sleep`, as bench/probe has them.
'use strict';
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const client = Client.fromConnectionString(process.env.IOTHUB_DEVICE_CONNECTION_STRING, Mqtt);
const sent = (error) => { if (error) throw error; };
// Before it connects: the hub remembers what an earlier run has subscribed to and
// sends at once, and a method without a handler is never answered.
client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload, sent));
client.onDeviceMethod('sleep', (request, response) =>
  setTimeout(() => response.send(200, request.payload, sent), request.payload));
client.open().catch((error) => { throw error; });
