"""Devices of an enrollment group that the official Python SDK provisions and connects.

Provisions every COUNT-th device, from the INDEX-th on, one after the other, once a file exists.
"""

import asyncio
import base64
import hashlib
import hmac
import os
import sys
from pathlib import Path

from azure.iot.device import ProxyOptions
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

PREFIX, SIZE, INDEX, COUNT, GO = sys.argv[1:]
OPTIONS = {
    "server_verification_cert": Path(os.environ["HUB_CA_FILE"]).read_text(),
    # The SDK's port, 8883, is hard-wired.
    "proxy_options": ProxyOptions("HTTP", "127.0.0.1", int(os.environ["HUB_CONNECT_PORT"])),
}


def derived_key(device):
    group = base64.b64decode(os.environ["GROUP_KEY"])
    return base64.b64encode(hmac.digest(group, device.encode(), hashlib.sha256)).decode()


async def provision(device):
    key = derived_key(device)
    provisioning = ProvisioningDeviceClient.create_from_symmetric_key(
        provisioning_host="localhost",
        registration_id=device,
        id_scope=os.environ["PROVISIONING_IDSCOPE"],
        symmetric_key=key,
        **OPTIONS,
    )
    state = (await provisioning.register()).registration_state
    client = IoTHubDeviceClient.create_from_symmetric_key(
        symmetric_key=key, hostname=state.assigned_hub, device_id=state.device_id, **OPTIONS
    )
    await client.connect()
    return client


async def main():
    print("ready", flush=True)
    while not Path(GO).exists():
        await asyncio.sleep(0.01)
    numbers = range(int(INDEX) + 1, int(SIZE) + 1, int(COUNT))
    # The clients stay connected until the process is killed.
    clients = [await provision(f"{PREFIX}{number:04}") for number in numbers]
    print(f"connected {len(clients)}", flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
