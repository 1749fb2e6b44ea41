"""A service that uses the official SDK. Each command is a call of its registry manager.

REQUESTS_CA_BUNDLE makes the SDK's HTTP library trust the hub's certificate.
"""

import os

from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.models import CloudToDeviceMethod, QuerySpecification, Twin, TwinProperties
from msrest.exceptions import HttpOperationError

from lines import commands, say

hub = IoTHubRegistryManager.from_connection_string(os.environ["IOTHUB_CONNECTION_STRING"])


def invoke(device, method, **options):
    return hub.invoke_device_method(device, CloudToDeviceMethod(method_name=method, **options)).as_dict()


def get_twin(device):
    return hub.get_twin(device).as_dict()


def update_twin(device, tags=None, desired=None, etag=None):
    return hub.update_twin(device, twin(tags, desired), etag).as_dict()


def replace_twin(device, tags=None, desired=None, etag=None):
    return hub.replace_twin(device, twin(tags, desired), etag).as_dict()


def twin(tags, desired):
    return Twin(tags=tags, properties=TwinProperties(desired=desired))


def query(text, page_size):
    """Returns all pages as lists of twins, each fetched with the previous page's token."""
    pages, token = [], None
    while True:
        page = hub.query_iot_hub(QuerySpecification(query=text), token, page_size)
        pages.append([item.as_dict() for item in page.items])
        token = page.continuation_token
        if token is None:
            return pages


def create_device(device):
    return hub.create_device_with_sas(device, "", "", "enabled").as_dict()


def get_device(device):
    return hub.get_device(device).as_dict()


def get_devices():
    return [device.as_dict() for device in hub.get_devices()]


def update_device(device, etag, primary_key, secondary_key, status):
    return hub.update_device_with_sas(device, etag, primary_key, secondary_key, status).as_dict()


def delete_device(device, etag=None):
    hub.delete_device(device, etag)


CALLS = [
    invoke, get_twin, update_twin, replace_twin, query,
    create_device, get_device, get_devices, update_device, delete_device,
]  # fmt: skip
BY_NAME = {call.__name__: call for call in CALLS}

say("ready")
for command in commands():
    call = BY_NAME[command.pop("do")]
    try:
        say("done", result=call(**command))
    except HttpOperationError as e:
        say(
            "refused",
            status=e.response.status_code,
            code=e.response.headers.get("iothub-errorcode"),
            body=e.response.text,
        )
