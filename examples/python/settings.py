"""The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
report (an object with additional properties)."""

import json
from dataclasses import dataclass, field

from wit_world.imports import config


class Wrong(Exception):
    """An error about an invalid value, in one line."""


@dataclass
class Settings:
    delay: float = 20
    path: list[str] = field(default_factory=lambda: ["rebootTime"])
    additional: dict = field(default_factory=dict)

    @classmethod
    def read(cls) -> "Settings":
        settings = cls()
        for key, text in config.entries():
            match key:
                case "delay_seconds":
                    settings.delay = delay(text)
                case "property":
                    settings.path = parse_path(text)
                case "report":
                    settings.additional = parse_object(text)
                case _:
                    raise Wrong(f"{key}: unknown setting; expected delay_seconds, property or report")
        nested(settings.additional, settings.path, "")
        return settings

    def patch(self, time: str) -> dict:
        return nested(self.additional, self.path, time)


def seconds(value: object) -> float:
    """Checks that a value is a number from 0 to 300. In Python, True is also an int."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 300:
        return value
    text = json.dumps(value)
    found = text if len(text) <= 40 else f"a value of {len(text)} bytes"
    raise Wrong(f"{found} is not a number from 0 to 300")


def nested(outer: dict, path: list[str], time: str) -> dict:
    """Returns a copy of an object with the time at the path."""
    key, *rest = path
    inner = outer.get(key, {})
    if key in outer and (not rest or not isinstance(inner, dict)):
        raise Wrong(f"report: `{key}` conflicts with `property`")
    return {**outer, key: nested(inner, rest, time) if rest else time}


def delay(text: str) -> float:
    try:
        return seconds(parsed(text))
    except Wrong as reason:
        raise Wrong(f"delay_seconds: {reason}")


def parse_path(text: str) -> list[str]:
    keys = text.split(".")
    if not all(key and not any(c in "$ " or not c.isprintable() for c in key) for key in keys):
        raise Wrong(f"property: `{text}` is not a list of keys separated by dots")
    return keys


def parse_object(text: str) -> dict:
    value = parsed(text)
    if not isinstance(value, dict):
        raise Wrong(f"report: {text} is not a JSON object")
    return value


def parsed(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError:
        return text
