#!/usr/bin/env bash
# paho-mqtt 2.1.0: a DISCONNECT of an MQTT 5 server with a reason code and without properties
# arrives as reason 0, "Normal disconnection".
#
# MQTT 5, section 3.14.2: the reason code is present if the remaining length is at least 1, and
# the length of the properties may be omitted if the remaining length is less than 2. A server
# that closes with "Session taken over" and no properties therefore looks like one that closed
# without a reason. With a property, such as a reason string, the code arrives.
#
# Needs python3 with venv, pip and PyPI. Fails if the behaviour has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check paho-mqtt==2.1.0

cat >"$folder/run.py" <<'EOF'
import socket
import threading
from importlib.metadata import version

from paho.mqtt.client import CallbackAPIVersion, Client, MQTTv5

TAKEN_OVER = 0x8E
PACKETS = {
    "reason code only": bytes([0xE0, 1, TAKEN_OVER]),
    "reason code, empty properties": bytes([0xE0, 2, TAKEN_OVER, 0]),
    # The property 0x1F is the reason string.
    "reason code, reason string": bytes([0xE0, 6, TAKEN_OVER, 4, 0x1F, 0, 1, ord("x")]),
}


def serve(listener, packet):
    """Accepts one client, and disconnects it."""
    connection, _ = listener.accept()
    connection.recv(1024)
    connection.sendall(bytes([0x20, 3, 0, 0, 0]) + packet)  # CONNACK without properties
    connection.recv(1024)
    connection.close()


def reason(packet):
    """Returns the reason code that the client reports for a packet of the server."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, packet), daemon=True).start()
    codes = []
    client = Client(CallbackAPIVersion.VERSION2, "d", protocol=MQTTv5)
    client.on_disconnect = lambda _client, _data, _flags, code, _properties: codes.append(code)
    client.connect("127.0.0.1", listener.getsockname()[1])
    while not codes:
        client.loop(timeout=1)
    return codes[0].value


print("paho-mqtt", version("paho-mqtt"))
seen = {}
for name, packet in PACKETS.items():
    seen[name] = reason(packet)
    print(f"{name}: sent 0x{TAKEN_OVER:02x}, reported 0x{seen[name]:02x}")
assert list(seen.values()) == [0, 0, TAKEN_OVER], "the behaviour has changed"
EOF
timeout 60 "$folder/venv/bin/python" "$folder/run.py"
