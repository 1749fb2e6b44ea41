"""A receiver of OTLP/HTTP that prints what it has decoded with the messages of OpenTelemetry."""

import email.utils
import gzip
import http.server
import threading
import time

from google.protobuf.json_format import MessageToDict
from opentelemetry.proto.collector.logs.v1 import logs_service_pb2 as logs
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as traces

from lines import commands, say

MESSAGES = {
    "/v1/logs": (logs.ExportLogsServiceRequest, logs.ExportLogsServiceResponse),
    "/v1/metrics": (metrics.ExportMetricsServiceRequest, metrics.ExportMetricsServiceResponse),
    "/v1/traces": (traces.ExportTraceServiceRequest, traces.ExportTraceServiceResponse),
}

# The next responses to each path, for failures.
answers = {path: [] for path in MESSAGES}

# The whole second before which no request to a path may arrive.
not_before = {path: 0 for path in MESSAGES}


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        is_early = time.time() < not_before[self.path]
        body = self.rfile.read(int(self.headers["content-length"]))
        encoding = self.headers.get("content-encoding", "none")
        if encoding == "gzip":
            body = gzip.decompress(body)
        request, response = MESSAGES[self.path]
        decoded = request()
        decoded.ParseFromString(body)
        planned = answers[self.path].pop(0) if answers[self.path] else {}
        status = planned.get("status", 200)
        answer = response()
        if "rejected" in planned:
            answer.partial_success.rejected_log_records = planned["rejected"]
            answer.partial_success.error_message = planned["message"]
        answer = answer.SerializeToString()
        received = dict(
            path=self.path,
            status=status,
            hangs="hangs" in planned,
            early=is_early,
            encoding=encoding,
            type=self.headers["content-type"],
            key=self.headers.get("api-key"),
            body=MessageToDict(decoded),
        )
        if "hangs" in planned:
            say("received", **received)
            threading.Event().wait()
        self.send_response(status)
        if "retry_after" in planned:
            self.send_header("retry-after", planned["retry_after"])
        if "retry_at" in planned:
            not_before[self.path] = int(time.time()) + planned["retry_at"]
            date = email.utils.formatdate(not_before[self.path], usegmt=True)
            self.send_header("retry-after", date)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)
        say("received", **received)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
threading.Thread(target=server.serve_forever, daemon=True).start()
say("ready", port=server.server_port)
for command in commands():
    if command["do"] == "answer":
        answers[command["path"]].extend(command["answers"])
        say("set")
