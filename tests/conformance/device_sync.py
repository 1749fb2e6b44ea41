"""A device that uses the threaded API of the official SDK, like `device.py`."""

from azure.iot.device import IoTHubDeviceClient

import plain_device
from lines import commands, say


def main():
    client = IoTHubDeviceClient.create_from_connection_string(
        plain_device.CONNECTION_STRING, **plain_device.options()
    )

    def on_method(request):
        say("method", name=request.name, payload=request.payload)
        response = plain_device.answer(request)
        if response is not None:
            client.send_method_response(response)

    def on_message(message):
        say("message", **plain_device.received(message))

    client.connect()
    client.on_method_request_received = on_method
    client.on_twin_desired_properties_patch_received = lambda patch: say("desired", patch=patch)
    say("ready")

    for command in commands():
        match command["do"]:
            case "report":
                client.patch_twin_reported_properties(command["patch"])
                say("reported")
            case "twin":
                say("twin", twin=client.get_twin())
            case "receive":
                client.on_message_received = on_message
                say("receiving")
            case "send":
                client.send_message(plain_device.message(command))
                say("sent")
    client.shutdown()


main()
