"""A device that uses the asyncio API of the official SDK.

The SDK subscribes only once, after its first connection. Messages that arrive after a
lost connection prove that the hub has kept the subscriptions.
"""

import asyncio

from azure.iot.device.aio import IoTHubDeviceClient, IoTHubModuleClient

import plain_device
from lines import commands, say


async def main():
    is_module = "ModuleId=" in plain_device.CONNECTION_STRING
    client = plain_device.create(IoTHubModuleClient if is_module else IoTHubDeviceClient)

    async def on_method(request):
        say("method", name=request.name, payload=request.payload)
        response = plain_device.answer(request)
        if response is not None:
            await client.send_method_response(response)

    async def on_desired(patch):
        say("desired", patch=patch)

    async def on_message(message):
        say("message", **plain_device.received(message))

    async def on_connection_change():
        # The event does not contain the state, since the client may have reconnected already.
        say("connection-changed")

    client.on_connection_state_change = on_connection_change
    try:
        await client.connect()
    except Exception as e:
        say("refused", error=type(e).__name__)
        await client.shutdown()
        return
    client.on_method_request_received = on_method
    client.on_twin_desired_properties_patch_received = on_desired
    say("ready")

    async def run(command):
        match command["do"]:
            case "report":
                await client.patch_twin_reported_properties(command["patch"])
                say("reported")
            case "twin":
                say("twin", twin=await client.get_twin())
            case "receive":
                client.on_message_received = on_message
                say("receiving")
            case "send":
                await client.send_message(plain_device.message(command))
                say("sent")

    todo = commands()
    while command := await asyncio.to_thread(next, todo, None):
        try:
            await run(command)
        except Exception as e:
            say("failed", error=type(e).__name__, message=str(e))
    await client.shutdown()


asyncio.run(main())
