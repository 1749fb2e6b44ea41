"""A device that uses the asyncio API of the official Python SDK, with `echo` and `sleep`."""

import asyncio

from azure.iot.device import MethodResponse
from azure.iot.device.aio import IoTHubDeviceClient

import options


async def main():
    client = IoTHubDeviceClient.create_from_connection_string(**options.OPTIONS)

    async def on_method(request):
        if request.name == "sleep":
            await asyncio.sleep(request.payload / 1000)
        await client.send_method_response(
            MethodResponse(request.request_id, 200, request.payload)
        )

    await client.connect()
    client.on_method_request_received = on_method
    await asyncio.Event().wait()


asyncio.run(main())
