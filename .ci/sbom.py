"""Writes the bill of materials of a program: every crate that is compiled into it, in the
CycloneDX format (version 1.5), from Cargo.lock and the crates' manifests.

    python3 .ci/sbom.py behaviour-host target/packages/behaviour-host.cdx.json \\
        --target aarch64-unknown-linux-gnu --status FOLDER

The target is this machine's by default. FOLDER has the descriptions of Debian packages that are in a
container image beside the program. Development and build dependencies are left out. The same commit
makes the same file.
"""

import argparse
import json
import pathlib
import platform
import subprocess
import sys
import tomllib
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    arguments = argparse.ArgumentParser()
    arguments.add_argument("program")
    arguments.add_argument("out")
    arguments.add_argument("--target", default=f"{platform.machine()}-unknown-linux-gnu")
    arguments.add_argument("--status", type=pathlib.Path)
    arguments = arguments.parse_args()
    program, out, host = arguments.program, arguments.out, arguments.target
    status = sorted(arguments.status.iterdir()) if arguments.status else []
    cargo = ("cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", host)
    metadata = json.loads(output(*cargo))
    packages = {package["id"]: package for package in metadata["packages"]}
    nodes = {node["id"]: node for node in metadata["resolve"]["nodes"]}
    roots = [key for key, package in packages.items() if package["name"] == program]
    (root,) = roots
    needed = reachable(root, nodes)
    with open(ROOT / "Cargo.lock", "rb") as lock:
        locked = tomllib.load(lock)["package"]
    digests = {(it["name"], it["version"]): it["checksum"] for it in locked if "checksum" in it}
    bill = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": component(packages[root], digests)},
        "components": [
            component(packages[key], digests)
            for key in sorted(needed - {root}, key=lambda key: purl(packages[key]))
        ]
        + [debian(file) for file in status],
        "dependencies": [
            {
                "ref": purl(packages[key]),
                "dependsOn": sorted(purl(packages[used]) for used in uses(nodes[key])),
            }
            for key in sorted(needed, key=lambda key: purl(packages[key]))
        ],
    }
    with open(out, "w", encoding="utf-8") as file:
        json.dump(bill, file, indent=1, ensure_ascii=False)
        file.write("\n")


def output(*command: str) -> str:
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def uses(node: dict) -> set[str]:
    """Returns the crates that a crate needs at run time."""
    return {
        used["pkg"]
        for used in node["deps"]
        if any(kind["kind"] is None for kind in used["dep_kinds"])
    }


def reachable(root: str, nodes: dict) -> set[str]:
    found, waiting = set(), [root]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting.extend(uses(nodes[key]))
    return found


def purl(package: dict) -> str:
    return f"pkg:cargo/{package['name']}@{package['version']}"


def component(package: dict, digests: dict) -> dict:
    is_program = package["source"] is None and any(
        "bin" in target["kind"] for target in package["targets"]
    )
    entry = {
        "type": "application" if is_program else "library",
        "bom-ref": purl(package),
        "name": package["name"],
        "version": package["version"],
        "purl": purl(package),
    }
    if package["license"]:
        entry["licenses"] = [{"expression": package["license"].replace("/", " OR ")}]
    digest = digests.get((package["name"], package["version"]))
    if digest:
        entry["hashes"] = [{"alg": "SHA-256", "content": digest}]
    return entry


def debian(status: pathlib.Path) -> dict:
    """Returns the component of a Debian package, from its control fields."""
    fields = dict(
        line.split(": ", 1)
        for line in status.read_text(encoding="utf-8").splitlines()
        if not line.startswith(" ")
    )
    name, version = fields["Package"], fields["Version"]
    address = f"pkg:deb/debian/{name}@{urllib.parse.quote(version)}?arch={fields['Architecture']}"
    return {
        "type": "library",
        "bom-ref": address,
        "name": name,
        "version": version,
        "purl": address,
    }


if __name__ == "__main__":
    main()
