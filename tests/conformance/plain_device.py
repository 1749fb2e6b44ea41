"""Connection options and answers, shared by both device scripts.

Only public options of the official SDK are used. Its port, 8883, is hard-coded.
The rig's proxy connects to the actual port of the hub, and outlives the hub. The
connection string is a secret and therefore comes from the environment, not from
the command line.
"""

import os

from azure.iot.device import X509, Message, MethodResponse, ProxyOptions

CONNECTION_STRING = os.environ["IOTHUB_DEVICE_CONNECTION_STRING"]


def options():
    with open(os.environ["HUB_CA_FILE"], encoding="ascii") as file:
        certificate = file.read()
    return {
        "server_verification_cert": certificate,
        "proxy_options": ProxyOptions("HTTP", "127.0.0.1", int(os.environ["HUB_CONNECT_PORT"])),
        "websockets": os.environ.get("HUB_WEBSOCKETS") == "yes",
        # Seconds before the second reconnect attempt; the first is immediate. The default is 10.
        "connection_retry_interval": 1,
    }


def create(client_class):
    """Returns a client that signs in with the certificate, if there is one."""
    certificate = os.environ.get("HUB_CERTIFICATE_FILE")
    if certificate is None:
        return client_class.create_from_connection_string(CONNECTION_STRING, **options())
    parts = dict(part.split("=", 1) for part in CONNECTION_STRING.split(";"))
    return client_class.create_from_x509_certificate(
        x509=X509(certificate, os.environ["HUB_KEY_FILE"]),
        hostname=parts["HostName"],
        device_id=parts["DeviceId"],
        **options(),
    )


def answer(request):
    """Returns the answer to a method, or None for `hold`, which is never answered."""
    if request.name == "hold":
        return None
    if request.name == "refuse":
        return MethodResponse(request.request_id, 409, {"refused": request.payload})
    if request.name == "silent":
        return MethodResponse(request.request_id, 204)
    return MethodResponse(request.request_id, 200, {"name": request.name, "payload": request.payload})


def received(message):
    """Returns the facts of a cloud-to-device message."""
    return {
        "body": message.data.decode(),
        "messageId": message.message_id,
        "correlationId": message.correlation_id,
        "contentType": message.content_type,
        "properties": message.custom_properties,
    }


def message(command):
    message = Message(command["body"], content_type="application/json", content_encoding="utf-8")
    message.message_id = command.get("id")
    message.custom_properties = command.get("properties", {})
    return message
