"""Devices that register with the official SDK and then connect to the assigned hub."""

import asyncio
import os
from pathlib import Path

from azure.iot.device import X509, ProxyOptions
from azure.iot.device.aio import IoTHubDeviceClient, ProvisioningDeviceClient

from lines import commands, say


def options(command):
    """Returns the options of every client."""
    port = int(os.environ["HUB_CONNECT_PORT"])
    return {
        "server_verification_cert": Path(os.environ["HUB_CA_FILE"]).read_text(),
        "proxy_options": ProxyOptions("HTTP", "127.0.0.1", port),
        "websockets": command.get("websockets", False),
    }


async def register(command):
    scope = command.get("scope", os.environ["PROVISIONING_IDSCOPE"])
    common = {"provisioning_host": "localhost", "registration_id": command["id"], "id_scope": scope}
    if "key" in command:
        client = ProvisioningDeviceClient.create_from_symmetric_key(
            symmetric_key=command["key"], **common, **options(command)
        )
    else:
        client = ProvisioningDeviceClient.create_from_x509_certificate(
            x509=x509(command), **common, **options(command)
        )
    result = await client.register()
    say("registered", status=result.status, operation=result.operation_id)
    return result.registration_state


async def connect(command, state):
    common = {"hostname": state.assigned_hub, "device_id": state.device_id}
    if "key" in command:
        client = IoTHubDeviceClient.create_from_symmetric_key(
            symmetric_key=command["key"], **common, **options(command)
        )
    else:
        client = IoTHubDeviceClient.create_from_x509_certificate(
            x509=x509(command), **common, **options(command)
        )
    await client.connect()
    twin = await client.get_twin()
    say(
        "connected",
        hub=state.assigned_hub,
        device=state.device_id,
        substatus=state.sub_status,
        desired=twin["desired"],
    )
    await client.shutdown()


def x509(command):
    return X509(cert_file=command["certificate"], key_file=command["private_key"])


async def main():
    say("ready")
    todo = commands()
    while command := await asyncio.to_thread(next, todo, None):
        try:
            await connect(command, await register(command))
        except Exception as e:
            say("refused", error=type(e).__name__, cause=repr(e.__cause__))


asyncio.run(main())
