#!/usr/bin/env python3
"""Checks links: of every Markdown page in the repository, and of the site in target/book.

A relative link has to lead to a file that exists and, with a fragment, to a heading or an
element of it. A path from the root of the repository, in code, has to exist. Every page below docs/ has to be in docs/SUMMARY.md. Links to other servers are
not followed.
"""

import html.parser
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).resolve().parent.parent

# A path from the root of the repository, as pages name it.
PATH = r"`((?:behaviour/(?:src|tests|templates)|bench|docs|fuzz|guest-reboot|host|hub|json|plugin|program|protocol|service|tests|trust|tutorial|wit)/[\w./-]+)`"
SITE = ROOT / "target" / "book"


def prose(text: str) -> str:
    """Returns Markdown without its blocks and spans of code."""
    text = re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.M | re.S)
    return re.sub(r"`[^`\n]*`", "code", text)


def anchors(text: str) -> set[str]:
    """Returns the fragments that the headings of a Markdown page can be reached by."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S), flags=re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").lower()
        name = re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")
        found.add(name)
    return found


def pages() -> list[str]:
    """Checks the pages of the repository; returns what is wrong."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout.split()
    wrong = []
    for name in listed:
        file = ROOT / name
        text = file.read_text()
        for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
            if re.match(r"[a-z]+:", target):
                continue
            path, _, place = target.partition("#")
            to = (file.parent / unquote(path)).resolve() if path else file
            if not to.exists():
                wrong.append(f"{name}: {target}: no such file")
            elif place and to.suffix == ".md" and place not in anchors(to.read_text()):
                wrong.append(f"{name}: {target}: no such heading")
        # Other files are named by their path in code.
        for path in re.findall(PATH, text):
            # A module may be named without its ending, and a capital word stands for a name.
            exists = (ROOT / path).exists() or (ROOT / f"{path}.rs").exists()
            if not exists and not re.search("[A-Z]{3}", path):
                wrong.append(f"{name}: `{path}`: no such file")
    summary = (ROOT / "docs" / "SUMMARY.md").read_text()
    for name in listed:
        page = name.removeprefix("docs/")
        if name != page and page != "SUMMARY.md" and f"({page})" not in summary:
            wrong.append(f"docs/SUMMARY.md: does not list {page}")
    return wrong


class Page(html.parser.HTMLParser):
    """The links and the fragments of a page of the site."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.ids.add(value)
            elif (tag, name) in {("a", "href"), ("img", "src")} and value:
                self.links.append(value)


def site() -> list[str]:
    """Checks the pages of the site; returns what is wrong."""
    read = {file: Page(file.read_text()) for file in SITE.rglob("*.html") if file.name not in ("print.html", "toc.html", "404.html")}
    if not read:
        return ["target/book: no pages; run `mdbook build`"]
    wrong = []
    for file, page in read.items():
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            path, _, place = link.partition("#")
            to = (file.parent / unquote(path)).resolve() if path else file
            name = file.relative_to(SITE)
            if not to.exists():
                wrong.append(f"site: {name}: {link}: no such file")
            elif place and to in read and unquote(place) not in read[to].ids:
                wrong.append(f"site: {name}: {link}: no such element")
    return wrong


if __name__ == "__main__":
    found = pages() + site()
    print("\n".join(found) or "every link leads somewhere")
    sys.exit(bool(found))
