"""A receiver of OTLP/HTTP that prints what it has decoded with the messages of OpenTelemetry."""

import gzip
import http.server
import json
import sys
import threading

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

MESSAGES = {
    "/v1/metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
    "/v1/traces": (traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse),
}

# The statuses of the next responses, for failures.
statuses = []


def emit(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        encoding = self.headers.get("content-encoding", "none")
        if encoding == "gzip":
            body = gzip.decompress(body)
        request, response = MESSAGES[self.path]
        decoded = request()
        decoded.ParseFromString(body)
        status = statuses.pop(0) if statuses and self.path == "/v1/metrics" else 200
        answer = response().SerializeToString()
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        emit(
            "received",
            path=self.path,
            status=status,
            encoding=encoding,
            type=self.headers["content-type"],
            key=self.headers.get("api-key"),
            body=MessageToDict(decoded),
        )

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
emit("ready", port=server.server_port)
for line in sys.stdin:
    command = json.loads(line)
    if command["do"] == "answer":
        statuses.extend(command["statuses"])
        emit("set")
