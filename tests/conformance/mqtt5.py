"""A device with MQTT 5 that follows the published steps of the profile `mqttV5`, with paho-mqtt 2.

The protobuf messages are encoded here by hand, independently of the hub.
"""

import json
import os
import secrets
import ssl

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from lines import commands, say

DEVICE = os.environ["HUB_DEVICE"]
READY = bytes(range(16))


def varint(number):
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def number(field, value):
    return varint(field << 3) + varint(value) if value else b""


def data(field, value):
    return varint(field << 3 | 2) + varint(len(value)) + value


def decode(message):
    """Returns the numbers and bytes of a message by their fields."""
    fields, at = {}, 0

    def read():
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(message):
        key = read()
        value = read()
        if key & 7 == 2:
            value, at = message[at : at + value], at + value
        fields[key >> 3] = value
    return fields


class Device:
    def __init__(self, command):
        self.nonce = secrets.token_bytes(16)
        self.probes = {}
        client = self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2, client_id=DEVICE, protocol=mqtt.MQTTv5
        )
        client.username_pw_set(f"correlationId={self.nonce.hex()}&clientVersion=paho%2F2")
        client.tls_set(
            ca_certs=os.environ["HUB_CA_FILE"],
            certfile=command["certificate"],
            keyfile=command["private_key"],
            cert_reqs=ssl.CERT_REQUIRED,
        )
        client.on_connect = self.connected
        client.on_disconnect = lambda _c, _u, _f, reason, _p: say("disconnected", code=reason.value)
        client.on_subscribe = self.subscribed
        client.on_publish = lambda _c, _u, _mid, reason, _p: say("acknowledged", code=reason.value)
        client.on_message = self.received
        client.connect("localhost", int(os.environ["HUB_MQTT_PORT"]), clean_start=False)
        client.loop_start()

    def connected(self, client, _user, flags, reason, _properties):
        say("connected", code=reason.value)
        if not reason.is_failure:
            client.subscribe(f"ih/{DEVICE}/dev/#", qos=1)

    def subscribed(self, _client, _user, _mid, reasons, _properties):
        say("subscribed", codes=[reason.value for reason in reasons])
        if reasons[0].value == 1:
            # Push desired properties.
            self.publish("presence", "birth:1", self.nonce, number(12, 1), qos=0)

    def publish(self, feature, kind, correlation, body, qos):
        properties = Properties(PacketTypes.PUBLISH)
        properties.CorrelationData = correlation
        properties.UserProperty = ("type", kind)
        self.client.publish(f"ih/{DEVICE}/srv/{feature}", body, qos=qos, properties=properties)

    def received(self, _client, _user, message):
        kind = dict(message.properties.UserProperty)["type"]
        correlation = message.properties.CorrelationData
        fields = decode(message.payload)
        match kind:
            case "birth-ack:1":
                own = correlation == self.nonce
                say("admitted", own=own, desired=fields.get(10, 0), reported=fields.get(11, 0))
            case "twin-push:1":
                section = decode(fields[1])
                say("push", version=section[1], desired=json.loads(section[2]))
            case "desired-patch:1":
                say("patch", version=fields[1], desired=json.loads(fields[2]))
            case "get-response:1":
                say("twin", desired=fields.get(1, 0), reported=json.loads(fields[4]))
            case "reported-patch-response:1":
                say("reported", outcome=fields.get(1, 0), version=fields.get(2, 0))
            case "probe:1":
                self.probed(correlation, fields[1].decode(), message.properties)
            case "exec:1":
                name = self.probes.pop(correlation)
                answer = json.dumps({"name": name, "payload": json.loads(fields[2])}).encode()
                result = number(1, 200) + data(2, answer)
                assert fields[1] == READY
                self.publish("methods", "result:1", correlation, result, qos=1)

    def probed(self, correlation, name, properties):
        assert properties.MessageExpiryInterval >= 2
        if name == "reject":
            ack = data(2, number(1, 3))
        else:
            self.probes[correlation] = name
            ack = data(1, data(1, READY))
        self.publish("methods", "probe-ack:1", correlation, ack, qos=1)


def main():
    say("ready")
    device = None
    for command in commands():
        match command["do"]:
            case "connect":
                device = Device(command)
            case "get":
                body = number(1, 3)
                device.publish("twin", "get:1", secrets.token_bytes(16), body, qos=0)
            case "report":
                body = number(1, command["version"]) + data(2, command["body"].encode())
                device.publish("twin", "reported-patch:1", secrets.token_bytes(16), body, qos=0)
            case "publish":
                device.client.publish(
                    command["topic"], "x", qos=command["qos"], retain=command.get("retain", False)
                )
            case "disconnect":
                device.client.disconnect()
                device.client.loop_stop()


main()
