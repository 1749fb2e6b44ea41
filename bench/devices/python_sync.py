"""A device that uses the threaded API of the official Python SDK, with `echo` and `sleep`."""

import threading
import time

from azure.iot.device import IoTHubDeviceClient, MethodResponse

import options

client = IoTHubDeviceClient.create_from_connection_string(**options.OPTIONS)


def on_method(request):
    if request.name == "sleep":
        time.sleep(request.payload / 1000)
    client.send_method_response(MethodResponse(request.request_id, 200, request.payload))


client.connect()
client.on_method_request_received = on_method
threading.Event().wait()
