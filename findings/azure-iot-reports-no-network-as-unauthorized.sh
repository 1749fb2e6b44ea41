#!/usr/bin/env bash
# azure-iot-device-mqtt 1.16.4: whatever ends the first connection is an UnauthorizedError, "Not
# authorized", and is not tried again.
#
# A refused TCP connection, and a server whose certificate is not trusted, end before the device has
# sent a credential. Both reject `open` with UnauthorizedError, which the default retry policy
# excludes, so that a device which starts before its network gives up at the first attempt. A
# program that asks for a new key after UnauthorizedError does so for a missing route. The cause is
# only in the text of the message.
#
# Needs Node with npm and its registry, openssl, and the free port 8883, which the SDK cannot
# change. Fails if the behaviour changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

npm init --yes >/dev/null
npm install --silent --no-fund --no-audit --save-exact \
  azure-iot-device@1.18.4 azure-iot-device-mqtt@1.16.4 2>/dev/null
openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost \
  -addext subjectAltName=DNS:localhost -keyout key.pem -out certificate.pem 2>/dev/null

cat >run.js <<'EOF'
const fs = require('fs');
const tls = require('tls');
const { Client } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

const key = Buffer.from('0123456789abcdef').toString('base64');

/** Connects with the default retry policy, and returns the error. */
async function connect() {
  const text = `HostName=localhost;DeviceId=d1;SharedAccessKey=${key}`;
  try {
    await Client.fromConnectionString(text, Mqtt).open();
    return 'connected';
  } catch (error) {
    return `${error.name}: ${error.message}`;
  }
}

let [connections, bytes] = [0, 0];
const own = { key: fs.readFileSync('key.pem'), cert: fs.readFileSync('certificate.pem') };
const server = tls.createServer(own, (socket) => socket.on('data', (data) => (bytes += data.length)));
server.on('tlsClientError', () => {});
server.on('connection', () => (connections += 1));

(async () => {
  console.log('refused:', await connect());
  server.listen(8883, '127.0.0.1', async () => {
    console.log('untrusted:', await connect());
    console.log(`the server has seen ${connections} connection and read ${bytes} bytes of MQTT`);
    process.exit(0);
  });
})();
EOF
printf 'azure-iot-device 1.18.4, azure-iot-device-mqtt 1.16.4, node %s\n' "$(node --version)"
timeout 60 node run.js 2>/dev/null | tee output.txt
grep -q '^refused: UnauthorizedError: .*ECONNREFUSED' output.txt
grep -q '^untrusted: UnauthorizedError: .*self-signed certificate' output.txt
grep -q 'has seen 1 connection and read 0 bytes' output.txt
