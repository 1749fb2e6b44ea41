"""Invokes `echo` of a device repeatedly with the official Python service SDK, and prints the
elapsed seconds."""

import os
import sys
import time

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod

hub = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])
device, calls = sys.argv[1], int(sys.argv[2])
method = CloudToDeviceMethod(method_name="echo", payload=1, response_timeout_in_seconds=30)
hub.invoke_device_method(device, method)
begun = time.monotonic()
for _ in range(calls):
    answer = hub.invoke_device_method(device, method)
    assert (answer.status, answer.payload) == (200, 1)
print(time.monotonic() - begun)
