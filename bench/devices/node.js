// A device that uses the official Node SDK, with the methods `echo` and `sleep` of bench/probe.
'use strict';
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const client = Client.fromConnectionString(process.env.IOTHUB_DEVICE_CONNECTION_STRING, Mqtt);
const sent = (error) => { if (error) throw error; };
// Handlers are set before the connection, since the hub keeps the subscriptions of an earlier
// run and sends methods immediately, and the SDK never answers a method without a handler.
client.onDeviceMethod('echo', (request, response) => response.send(200, request.payload, sent));
client.onDeviceMethod('sleep', (request, response) =>
  setTimeout(() => response.send(200, request.payload, sent), request.payload));
client.open().catch((error) => { throw error; });
