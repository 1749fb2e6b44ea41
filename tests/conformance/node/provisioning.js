// Devices and services of the Device Provisioning Service, with the official Node SDKs.
//
// A command on standard input is `{"do": NAME, ...}`, and an event on standard output is
// `{"event": NAME, ...}`, one JSON object per line. The script stops at the end of its input.

'use strict';

const fs = require('fs');
const https = require('https');
const readline = require('readline');

const { Client } = require('azure-iot-device');
const { Mqtt: DeviceMqtt } = require('azure-iot-device-mqtt');
const { ProvisioningDeviceClient } = require('azure-iot-provisioning-device');
const { Http } = require('azure-iot-provisioning-device-http');
const { Mqtt } = require('azure-iot-provisioning-device-mqtt');
const { ProvisioningServiceClient } = require('azure-iot-provisioning-service');
const { SymmetricKeySecurityClient } = require('azure-iot-security-symmetric-key');
const { X509Security } = require('azure-iot-security-x509');

// The clients cannot select a port for HTTPS.
https.globalAgent.defaultPort = Number(process.env.PROVISIONING_HTTPS_PORT);

const ca = fs.readFileSync(process.env.NODE_EXTRA_CA_CERTS, 'utf8');
const service = ProvisioningServiceClient.fromConnectionString(
  process.env.PROVISIONING_CONNECTION_STRING,
);

function say(event, facts) {
  process.stdout.write(JSON.stringify({ event, ...facts }) + '\n');
}

/** Registers a device and returns the assignment. */
async function register({ id, transport, key, certificate, privateKey }) {
  const security = key
    ? new SymmetricKeySecurityClient(id, key)
    : new X509Security(id, { cert: certificate, key: privateKey });
  const host = transport === 'http' ? 'localhost' : process.env.PROVISIONING_HOST;
  const chosen = transport === 'http' ? new Http() : new Mqtt();
  const scope = process.env.PROVISIONING_IDSCOPE;
  const client = ProvisioningDeviceClient.create(host, scope, chosen, security);
  return client.register();
}

/** Connects a registered device to its hub and returns its twin. */
async function connect({ key, certificate, privateKey }, { assignedHub, deviceId }) {
  const identity = `HostName=${assignedHub};DeviceId=${deviceId};`;
  const credential = key ? `SharedAccessKey=${key}` : 'x509=true';
  const client = Client.fromConnectionString(identity + credential, DeviceMqtt);
  await client.setOptions(key ? { ca } : { ca, cert: certificate, key: privateKey });
  await client.open();
  const twin = await client.getTwin();
  const desired = twin.properties.desired;
  await client.close();
  return desired;
}

const commands = {
  async register(command) {
    const assigned = await register(command);
    const { assignedHub, deviceId, status, substatus } = assigned;
    const desired = await connect(command, assigned);
    say('connected', { assignedHub, deviceId, status, substatus, desired });
  },

  async createEnrollment({ enrollment }) {
    const { responseBody } = await service.createOrUpdateIndividualEnrollment(enrollment);
    say('enrollment', { enrollment: responseBody });
  },

  async createGroup({ group }) {
    const { responseBody } = await service.createOrUpdateEnrollmentGroup(group);
    say('group', { group: responseBody });
  },

  async getEnrollment({ id }) {
    const { responseBody } = await service.getIndividualEnrollment(id);
    say('enrollment', { enrollment: responseBody });
  },

  async getAttestation({ id }) {
    const { responseBody } = await service.getEnrollmentGroupAttestationMechanism(id);
    say('attestation', { attestation: responseBody });
  },

  async queryGroups({ pageSize }) {
    const query = service.createEnrollmentGroupQuery(
      { query: 'SELECT * FROM enrollmentGroups' },
      pageSize,
    );
    const pages = [];
    do {
      pages.push(await new Promise((resolve, reject) => {
        query.next((error, page) => (error ? reject(error) : resolve(page)));
      }));
    } while (query.hasMoreResults);
    say('pages', { pages: pages.map((page) => page.map((group) => group.enrollmentGroupId)) });
  },

  async getRegistration({ id }) {
    const { responseBody } = await service.getDeviceRegistrationState(id);
    say('registration', { registration: responseBody });
  },

  async deleteEnrollment({ id, etag }) {
    await service.deleteIndividualEnrollment(id, etag);
    say('deleted', {});
  },
};

(async () => {
  say('ready', {});
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const command = JSON.parse(line);
    try {
      await commands[command.do](command);
    } catch (error) {
      say('refused', { name: error.name, message: error.message });
    }
  }
  process.exit(0);
})();
