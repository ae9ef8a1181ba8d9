"""How the program speaks to its user."""

from __future__ import annotations

import logging
import sys


def say(message: str) -> None:
    """One line on stderr, whatever characters the message has."""
    print(line(message), file=sys.stderr)


def line(message: str) -> str:
    """A message as `say` prints it."""
    return f"agnlib: {' '.join(message.split())}"


class _Relay(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


_relay = _Relay()


def relay(name: str, *, wanted: bool) -> None:
    """Say from now on what the logger of this name is told, or no longer."""
    log = logging.getLogger(name)
    if wanted:
        log.addHandler(_relay)
        log.setLevel(logging.INFO)
    else:
        log.removeHandler(_relay)
