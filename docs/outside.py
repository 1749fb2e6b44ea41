#!/usr/bin/env python3
"""mdBook preprocessor that rewrites links to files outside docs/ for the site.

In the repository, such a link opens a file. On the site, a link to an included file is
replaced with a link to the page that includes it, and a link to any other file with its path.
The links of a page that includes a file of the repository's root are relative to the root.
"""

import json
import os
import re
import sys

# Pages of the site that include a page of the repository's root.
INCLUDED = {
    "ARCHITECTURE.md": "explanation/architecture.md",
    "SECURITY.md": "explanation/security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "README.md": "introduction.md",
}
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def rewrite(text: str, page: str) -> str:
    """Returns the text of a page with rewritten links."""
    base = "" if page in INCLUDED.values() and page != "introduction.md" else os.path.join("docs", os.path.dirname(page))

    def replace(link: re.Match[str]) -> str:
        shown, target = link.groups()
        if ":" in target or target.startswith("#"):
            return link.group(0)
        file, _, fragment = target.partition("#")
        path = os.path.normpath(os.path.join(base, file))
        anchor = f"#{fragment}" if fragment else ""
        if path in INCLUDED:
            inside = INCLUDED[path]
        elif path.startswith("docs" + os.sep):
            inside = path[len("docs/"):]
        else:
            bare = shown.strip("`")
            return f"`{path}`" if bare.rstrip("/") == path or bare == file else f"{shown} (`{path}`)"
        return f"[{shown}]({os.path.relpath(inside, os.path.dirname(page) or '.')}{anchor})"

    # Code blocks are not changed.
    parts = re.split(r"(^```.*?^```$)", text, flags=re.M | re.S)
    return "".join(part if part.startswith("```") else LINK.sub(replace, part) for part in parts)


def visit(items: list) -> None:
    for item in items:
        if "Chapter" in item:
            chapter = item["Chapter"]
            if chapter.get("path"):
                chapter["content"] = rewrite(chapter["content"], chapter["path"])
            visit(chapter.get("sub_items", []))


if __name__ == "__main__":
    if sys.argv[1:2] == ["supports"]:
        sys.exit(0)
    _context, book = json.load(sys.stdin)
    visit(book.get("items") or book["sections"])
    json.dump(book, sys.stdout)
