"""How the Python devices reach the hub.

The SDK's port, 8883, is hard-wired; the hub's CONNECT port stands in for a
proxy, which costs one round trip at the connection and nothing a method.
"""

import os

from azure.iot.device import ProxyOptions

with open(os.environ["HUB_CA_FILE"], encoding="ascii") as file:
    OPTIONS = {
        "connection_string": os.environ["IOTHUB_DEVICE_CONNECTION_STRING"],
        "server_verification_cert": file.read(),
        "proxy_options": ProxyOptions("HTTP", "127.0.0.1", int(os.environ["HUB_CONNECT_PORT"])),
    }
