"""A plain MQTT client, not an SDK, that requests certificates over its session."""

import os
import ssl

import paho.mqtt.client as mqtt

from lines import commands, say

HOST = "localhost"
DEVICE = os.environ["HUB_DEVICE"]


def client_of(command):
    client = mqtt.Client(client_id=DEVICE, clean_session=command.get("clean", True))
    version = command.get("version", "2025-08-01-preview")
    client.username_pw_set(f"{HOST}/{DEVICE}/?api-version={version}")
    client.tls_set(
        ca_certs=os.environ["HUB_CA_FILE"],
        certfile=command["certificate"],
        keyfile=command["private_key"],
        cert_reqs=ssl.CERT_REQUIRED,
    )
    # A lost connection is an event of its own, not repaired.
    client.on_connect = lambda _c, _u, _f, code: say("connected", code=code)
    client.on_disconnect = lambda _c, _u, _code: say("disconnected")
    client.on_subscribe = lambda _c, _u, _mid, _qos: say("subscribed")
    client.on_unsubscribe = lambda _c, _u, _mid: say("unsubscribed")
    client.on_publish = lambda _c, _u, _mid: say("acknowledged")
    client.on_message = lambda _c, _u, m: say("message", topic=m.topic, body=m.payload.decode())
    client.connect(HOST, int(os.environ["HUB_MQTT_PORT"]))
    client.loop_start()
    return client


def main():
    say("ready")
    client = None
    for command in commands():
        match command["do"]:
            case "connect":
                client = client_of(command)
            case "subscribe":
                client.subscribe("$iothub/credentials/res/#", qos=1)
            case "unsubscribe":
                client.unsubscribe("$iothub/credentials/res/#")
            case "publish":
                topic = f"$iothub/credentials/POST/issueCertificate/?$rid={command['rid']}"
                client.publish(topic, command["body"], qos=1)
            case "disconnect":
                client.disconnect()
                client.loop_stop()


main()
