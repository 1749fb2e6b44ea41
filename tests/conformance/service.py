"""A service that uses the official SDK. Each command is a call of one of its managers.

REQUESTS_CA_BUNDLE makes the SDK's HTTP library trust the hub's certificate.
"""

import os

from azure.iot.hub import IoTHubConfigurationManager, IoTHubJobManager, IoTHubRegistryManager
from azure.iot.hub.models import (
    CloudToDeviceMethod,
    Configuration,
    ConfigurationContent,
    ConfigurationQueriesTestInput,
    JobRequest,
    QuerySpecification,
    Twin,
    TwinProperties,
)
from msrest.exceptions import HttpOperationError

from lines import commands, say

IDENTITY = os.environ["IOTHUB_CONNECTION_STRING"]
hub = IoTHubRegistryManager.from_connection_string(IDENTITY)
configurations = IoTHubConfigurationManager.from_connection_string(IDENTITY)
jobs = IoTHubJobManager.from_connection_string(IDENTITY)


def invoke(device, method, **options):
    return hub.invoke_device_method(device, CloudToDeviceMethod(method_name=method, **options)).as_dict()


def invoke_module(device, module, method, **options):
    request = CloudToDeviceMethod(method_name=method, **options)
    return hub.invoke_device_module_method(device, module, request).as_dict()


def update_module_twin(device, module, desired):
    return hub.update_module_twin(device, module, twin(None, desired), "*").as_dict()


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


def configuration(id, target, priority, content, etag=None):
    content = ConfigurationContent(device_content=content)
    return Configuration(id=id, content=content, target_condition=target, priority=priority)


def create_configuration(**fields):
    return configurations.create_configuration(configuration(**fields)).as_dict()


def update_configuration(etag, **fields):
    return configurations.update_configuration(configuration(**fields), etag).as_dict()


def get_configuration(id):
    return configurations.get_configuration(id).as_dict()


def get_configurations():
    return [found.as_dict() for found in configurations.get_configurations()]


def delete_configuration(id):
    configurations.delete_configuration(id)


def test_queries(target, queries):
    queries = ConfigurationQueriesTestInput(target_condition=target, custom_metric_queries=queries)
    return configurations.test_configuration_queries(queries).as_dict()


def create_twin_job(id, condition, tags):
    update = Twin(etag="*", tags=tags)
    request = JobRequest(job_id=id, type="scheduleUpdateTwin", update_twin=update, query_condition=condition)
    return jobs.create_scheduled_job(id, request).as_dict()


def create_method_job(id, condition, method, start):
    method = CloudToDeviceMethod(method_name=method)
    request = JobRequest(
        job_id=id,
        type="scheduleDeviceMethod",
        cloud_to_device_method=method,
        query_condition=condition,
        start_time=start,
    )
    return jobs.create_scheduled_job(id, request).as_dict()


def get_job(id):
    return jobs.get_scheduled_job(id).as_dict()


def cancel_job(id):
    return jobs.cancel_scheduled_job(id).as_dict()


CALLS = [
    invoke, invoke_module, update_module_twin, get_twin, update_twin, replace_twin, query,
    create_device, get_device, get_devices, update_device, delete_device,
    create_configuration, update_configuration, get_configuration, get_configurations,
    delete_configuration, test_queries, create_twin_job, create_method_job, get_job, cancel_job,
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
