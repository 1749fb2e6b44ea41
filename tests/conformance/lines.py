"""The protocol between a script and its test: one JSON object per line.

A command on standard input is `{"do": NAME, ...}`, and an event on standard output is
`{"event": NAME, ...}`. The script stops at the end of its input.
"""

import json
import sys
import threading

_one_line_at_a_time = threading.Lock()


def say(event, **facts):
    """Sends an event to the test. Safe to call from any thread."""
    with _one_line_at_a_time:
        print(json.dumps({"event": event, **facts}), flush=True)


def commands():
    """Yields the commands of the test until it closes the input."""
    for line in sys.stdin:
        yield json.loads(line)
