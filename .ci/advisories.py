#!/usr/bin/env python3
"""Checks Cargo.lock against known advisories, without a network.

    .ci/advisories.py check             Runs `cargo deny check` on the list in advisories.toml.
    .ci/advisories.py refresh CLONE     Writes that list anew from a clone of the RustSec
                                        advisory database (https://github.com/rustsec/advisory-db).

The list holds facts only: the id of an advisory, its crate, and the versions without the fault.
It has the advisories that concern the compatible line of a version in Cargo.lock (1.x, or 0.8.x),
so it is short, and a downgrade within that line is noticed. It is as new as its last refresh:
do that before a release, after a crate has been added, and when an advisory becomes known.
`cargo deny check` without this script asks the database itself, where GitHub can be reached.
"""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LIST = ROOT / ".ci" / "advisories.toml"
HEAD = """\
# Advisories that concern a crate in Cargo.lock: `without` are the versions without the fault.
# Written by `.ci/advisories.py refresh CLONE`, which also says when to do so.

as_of = "{as_of}"      # of the advisory database

"""

# cargo-deny looks for a database in a folder that is named after its URL. Nothing is fetched
# from this one, since the check runs with --offline.
URL = "https://localhost/advisories"
FOLDER = "advisories-66f80d22a63e6eac"


def locked() -> dict[str, list[str]]:
    """Returns the versions of each crate from a registry in Cargo.lock and fuzz/Cargo.lock."""
    crates: dict[str, list[str]] = {}
    for lock in ("Cargo.lock", "fuzz/Cargo.lock"):
        for package in tomllib.loads((ROOT / lock).read_text())["package"]:
            if "source" in package:
                crates.setdefault(package["name"], []).append(package["version"])
    return crates


def numbers(version: str) -> tuple[int, int, int]:
    """Returns the three numbers of a version; a pre-release counts as its release."""
    parts = version.split("-")[0].split("+")[0].split(".")
    return tuple(int(part) for part in (parts + ["0", "0"])[:3])


def first_of_line(version: str) -> tuple[int, int, int]:
    """Returns the oldest version that is compatible with this one."""
    major, minor, patch = numbers(version)
    return (major, 0, 0) if major else (0, minor, 0) if minor else (0, 0, patch)


def meets(version: tuple[int, int, int], requirement: str) -> bool:
    """Whether a version meets all the comparisons of a requirement."""
    for comparison in requirement.split(","):
        text = comparison.strip()
        operator = next((o for o in (">=", "<=", ">", "<", "=", "^") if text.startswith(o)), "")
        bound = text[len(operator):].strip()
        limit = numbers(bound)
        compatible = version >= limit and first_of_line(".".join(map(str, version))) == first_of_line(bound)
        if not {
            ">=": version >= limit, "<=": version <= limit, ">": version > limit,
            "<": version < limit, "=": version == limit,
        }.get(operator, compatible):
            return False
    return True


def boundaries(requirements: list[str]) -> list[tuple[int, int, int]]:
    """Returns each version that requirements name, and the one before it."""
    found = []
    for comparison in (c for requirement in requirements for c in requirement.split(",")):
        major, minor, patch = numbers(comparison.strip(" <>=^"))
        before = (major, minor, patch - 1) if patch else (major, minor - 1, 9999) if minor else (major - 1, 9999, 9999)
        found += [(major, minor, patch), before]
    return found


def concerns(without: list[str], version: str) -> bool:
    """Whether a version, or an older one of its compatible line, has the fault."""
    first, last = first_of_line(version), numbers(version)
    candidates = [first, last] + [v for v in boundaries(without) if first <= v <= last]
    return any(not any(meets(v, requirement) for requirement in without) for v in candidates)


def refresh(clone: Path) -> None:
    """Writes the list anew from a clone of the advisory database."""
    crates = locked()
    entries = []
    for file in sorted(clone.glob("crates/*/RUSTSEC-*.md")):
        if file.parent.name not in crates:
            continue
        front = tomllib.loads(file.read_text().split("```toml", 1)[1].split("```", 1)[0])
        advisory = front["advisory"]
        if "withdrawn" in advisory:
            continue
        versions = front.get("versions", {})
        without = versions.get("patched", []) + versions.get("unaffected", [])
        if any(concerns(without, version) for version in crates[file.parent.name]):
            quoted = ", ".join(f'"{requirement}"' for requirement in without)
            entries.append(f'{advisory["id"]} = {{ crate = "{advisory["package"]}", without = [{quoted}] }}')
    git = ["git", "-C", str(clone), "log", "-1", "--format=%cs"]
    as_of = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    LIST.write_text(HEAD.format(as_of=as_of) + "[advisories]\n" + "\n".join(sorted(entries)) + "\n")
    print(f"{len(entries)} advisories of {as_of} concern {len(crates)} crates")


def check() -> int:
    """Runs cargo-deny on a database that is made of the list; returns its exit code."""
    listed = tomllib.loads(LIST.read_text())["advisories"]
    target = ROOT / "target" / "advisories"
    database = target / FOLDER
    subprocess.run(["rm", "-rf", str(target)], check=True)
    for advisory, entry in listed.items():
        folder = database / "crates" / entry["crate"]
        folder.mkdir(parents=True, exist_ok=True)
        year = advisory.split("-")[1]
        (folder / f"{advisory}.md").write_text(
            f'```toml\n[advisory]\nid = "{advisory}"\npackage = "{entry["crate"]}"\ndate = "{year}-01-01"\n\n'
            f'[versions]\npatched = {json.dumps(entry["without"])}\n```\n\n# {entry["crate"]} has a known fault\n'
        )
    git = ["git", "-C", str(database), "-c", "user.name=ci", "-c", "user.email=ci@localhost"]
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "list"]):
        subprocess.run(git + command, check=True)
    config = target / "deny.toml"
    config.write_text(
        (ROOT / "deny.toml").read_text()
        + f'\n[advisories]\ndb-path = "{target}"\ndb-urls = ["{URL}"]\n'
    )
    code = 0
    for manifest in ("Cargo.toml", "fuzz/Cargo.toml"):
        # Of fuzz only `advisories`, since it is never shipped. Its lock file follows the workspace's.
        checks, locked = ([], ["--locked"]) if manifest == "Cargo.toml" else (["advisories"], [])
        code |= subprocess.run(
            ["cargo-deny", "--offline", *locked, "--log-level", "error", "--manifest-path", str(ROOT / manifest),
             "--config", str(config), "check", "--hide-inclusion-graph", *checks]
        ).returncode
    return code


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["check"]:
            sys.exit(check())
        case ["refresh", clone]:
            refresh(Path(clone))
        case _:
            sys.exit(__doc__)
