#!/usr/bin/env python3
"""Measures hosts with one plugin, connected to the hub: memory, size, start and call.

    footprint.py --tools FOLDER [--rounds N] [--bits N] [--write FILE] ARCHITECTURE:VARIANT:PROGRAM...

VARIANT is `compiler` or `runtime`; FOLDER contains behaviour-hub and behaviour for this machine.
A program for another processor runs in qemu-user of `.ci/cross`, which must have prepared it. A
host with the compiler gets the component, and one without it what `behaviour compile` makes of it.
The plugin is examples/wat, and each host must first reboot its simulated device. `--write` replaces
the table between the markers in FILE. `--bits` is the width of an emulated program's addresses.
"""

import argparse
import base64
import hashlib
import hmac
import http.client
import json
import os
import pathlib
import platform
import re
import shutil
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent
CROSS = ROOT / "target/cross/root"
DEVICE = "d1"

# Targets of `behaviour compile`.
TARGETS = {"x86_64": "x86_64-unknown-linux-gnu", "aarch64": "aarch64-unknown-linux-gnu", "armv7": "pulley32"}

# Emulators, folders of their libraries, and sizes of the address space in bytes. The space of the
# emulated program begins at BASE, so that its memory can be told from that of the emulator.
EMULATORS = {
    "aarch64": ("qemu-aarch64", "aarch64-linux-gnu", 1 << 46),
    "armv7": ("qemu-arm", "arm-linux-gnueabihf", 1 << 32),
}
BASE = 1 << 40

# One second after its start, a host releases the pages of its code.
SETTLE_SECONDS = 3.0
CALLS = 200
TIMEOUT_SECONDS = 120


def tool(folder, name, *arguments):
    command = [folder / name, *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"error: {name} {' '.join(map(str, arguments))}: {done.stderr}")


class Hub:
    """A hub of this machine with one device."""

    def __init__(self, tools, folder):
        self.process = subprocess.Popen(
            [tools / "behaviour-hub", "--mqtt-port", "0", "--https-port", "0", "--device", DEVICE,
             "--ca-file", folder / "hub.pem", "--explorer", "off", "--log", "warn", "--json"],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.ready = json.loads(self.process.stdout.readline())
        self.identity = self.ready["devices"][0]["connectionString"]
        self.tls = ssl.create_default_context(cafile=folder / "hub.pem")
        self.connection = None

    def request(self, method, path, body=None):
        """Sends a request of the service, and returns the parsed answer."""
        owner = dict(part.split("=", 1) for part in self.ready["connectionString"].split(";"))
        if self.connection is None:
            host = owner["HostName"].split(":")[0]
            self.connection = http.client.HTTPSConnection(
                host, self.ready["https_port"], context=self.tls, timeout=TIMEOUT_SECONDS)
            resource = urllib.parse.quote(host, safe="")
            expiry = int(time.time()) + 3600
            key = base64.b64decode(owner["SharedAccessKey"])
            digest = hmac.new(key, f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
            signature = urllib.parse.quote(base64.b64encode(digest), safe="")
            self.token = (f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}"
                          f"&skn={owner['SharedAccessKeyName']}")
        self.connection.request(method, f"{path}?api-version=2021-04-12", body and json.dumps(body),
                                {"Authorization": self.token, "Content-Type": "application/json"})
        answer = self.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text.decode()}")
        return json.loads(text)

    def call(self, payload):
        return self.request("POST", f"/twins/{DEVICE}/methods", {
            "methodName": "rebootDevice", "payload": payload, "connectTimeoutInSeconds": 60,
            "responseTimeoutInSeconds": 60})

    def reboot_time(self):
        return self.request("GET", f"/twins/{DEVICE}")["properties"]["reported"].get("rebootTime")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT_SECONDS)


class Device:
    """A host, measured through /proc."""

    def __init__(self, architecture, program, folder, hub, bits):
        emulated = architecture != platform.machine()
        command = [program]
        if emulated:
            emulator, libraries, size = EMULATORS[architecture]
            size = 1 << bits if bits else size
            base = [CROSS / "usr/bin" / emulator, "-L", CROSS / "usr" / libraries]
            command = [*base, "-B", hex(BASE), "-R", hex(size), program]
        self.range = (BASE, BASE + size) if emulated else (0, 1 << 64)
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_RUNTIME_DIR": str(folder),
                       "IOTHUB_DEVICE_CONNECTION_STRING": hub.identity}
        self.log = open(folder / "log", "a", encoding="utf-8")
        self.process = subprocess.Popen([*command, "run", "--config", folder / "host.toml"], cwd=folder,
                                        env=environment, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def memory(self):
        """Returns RSS and PSS in bytes, without the memory of an emulator."""
        sums, counted = {"Rss": 0, "Pss": 0}, False
        with open(f"/proc/{self.process.pid}/smaps", encoding="utf-8") as maps:
            for line in maps:
                if head := re.match(r"([0-9a-f]+)-[0-9a-f]+ ", line):
                    counted = self.range[0] <= int(head[1], 16) < self.range[1]
                elif counted and (field := re.match(r"(Rss|Pss): +(\d+) kB", line)):
                    sums[field[1]] += int(field[2]) * 1024
        return sums["Rss"], sums["Pss"]

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(TIMEOUT_SECONDS)
        self.log.close()


def configure(folder, hub, plugin):
    (folder / "host.toml").write_text(f"""\
[hub]
port = {hub.ready["mqtt_port"]}
ca_file = "hub.pem"
[host]
data = "data"
compile_cache = "cache"
control_socket = "control/host.sock"
memory_bytes = 268435456
[plugins.reboot]
file = "{plugin}"
methods = ["rebootDevice"]
config = {{ delay_seconds = 0 }}
""", encoding="utf-8")


def measure(architecture, variant, program, tools, component, rounds, bits):
    """Returns medians: RSS, PSS, start in ms, call in ms."""
    found = []
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as name:
        folder = pathlib.Path(name)
        hub = Hub(tools, folder)
        plugin = "reboot.wasm" if variant == "compiler" else "reboot.compiled"
        if variant == "compiler":
            shutil.copy(component, folder / plugin)
        else:
            tool(tools, "behaviour", "compile", "--target", TARGETS[architecture], component, "-o", folder / plugin)
        configure(folder, hub, plugin)
        try:
            # The first run fills the compile cache.
            for number in range(rounds + 1):
                earlier = hub.reboot_time()
                begun = time.monotonic()
                device = Device(architecture, program, folder, hub, bits)
                try:
                    answer = hub.call({})
                    start = time.monotonic() - begun
                    if answer["status"] != 200 or hub.reboot_time() in (None, earlier):
                        raise RuntimeError(f"no reboot: {answer}")
                    times = []
                    if number > 0:
                        for _ in range(CALLS):
                            begun = time.monotonic()
                            # A call that the plugin refuses has no effect but its answer.
                            hub.call({"delaySeconds": "x"})
                            times.append(time.monotonic() - begun)
                        time.sleep(SETTLE_SECONDS)
                        found.append((*device.memory(), start * 1000, statistics.median(times) * 1000))
                finally:
                    device.stop()
        except Exception as error:
            sys.exit(f"error: {architecture} {variant}: {error}\n{(folder / 'log').read_text()}")
        finally:
            hub.stop()
    return [statistics.median(values) for values in zip(*found)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=pathlib.Path, required=True, metavar="FOLDER")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--bits", type=int, metavar="N")
    parser.add_argument("--write", type=pathlib.Path, metavar="FILE")
    parser.add_argument("hosts", nargs="+", metavar="ARCHITECTURE:VARIANT:PROGRAM")
    arguments = parser.parse_args()
    tools = arguments.tools.resolve()
    lines = ["| processor | compiler | program MB | RSS MiB | PSS MiB | start ms | call ms |",
             "|---|---|---:|---:|---:|---:|---:|"]
    with tempfile.TemporaryDirectory(dir=ROOT / "target") as folder:
        component = pathlib.Path(folder) / "reboot.wasm"
        tool(tools, "behaviour", "build", ROOT / "examples/wat", "--out", component)
        for host in arguments.hosts:
            architecture, variant, program = host.split(":")
            program = pathlib.Path(program).resolve()
            rss, pss, start, call = measure(architecture, variant, program, tools, component,
                                            arguments.rounds, arguments.bits)
            emulated = "" if architecture == platform.machine() else ", emulated"
            lines.append(f"| {architecture}{emulated} | {'yes' if variant == 'compiler' else 'no'} "
                         f"| {program.stat().st_size / 1e6:.1f} | {rss / 2**20:.1f} | {pss / 2**20:.1f} "
                         f"| {start:.0f} | {call:.2f} |")
            print(lines[-1], flush=True)
    if arguments.write:
        page = arguments.write.read_text(encoding="utf-8")
        begin, end = "<!-- footprint -->\n", "<!-- end: footprint -->"
        before, rest = page.split(begin)
        after = rest.split(end)[1]
        measured = (f"Measured on {time.strftime('%Y-%m-%d')}, kernel {platform.release().split('-')[0]}, "
                    f"{arguments.rounds} starts and {CALLS} calls of each; medians.")
        text = "\n".join([measured, "", *lines]) + "\n"
        arguments.write.write_text(before + begin + text + end + after, encoding="utf-8")


main()
