"""How a script talks with its test: a JSON object a line, commands in, events out.

A command is `{"do": NAME, ...}`, an event `{"event": NAME, ...}`. The end of
the input is the order to stop.
"""

import json
import sys
import threading

_one_line_at_a_time = threading.Lock()


def say(event, **facts):
    """Tells the test what happened. Any thread may call it."""
    with _one_line_at_a_time:
        print(json.dumps({"event": event, **facts}), flush=True)


def commands():
    """The test's commands, one after another, until it closes the input."""
    for line in sys.stdin:
        yield json.loads(line)
