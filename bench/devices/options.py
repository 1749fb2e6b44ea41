"""Connection options of the Python devices.

The SDK's port, 8883, is hard-wired. The hub's CONNECT port serves as the proxy, which
costs one round trip for a connection and nothing for a method.
"""

import os

from azure.iot.device import ProxyOptions

with open(os.environ["HUB_CA_FILE"], encoding="ascii") as file:
    OPTIONS = {
        "connection_string": os.environ["IOTHUB_DEVICE_CONNECTION_STRING"],
        "server_verification_cert": file.read(),
        "proxy_options": ProxyOptions("HTTP", "127.0.0.1", int(os.environ["HUB_CONNECT_PORT"])),
    }
