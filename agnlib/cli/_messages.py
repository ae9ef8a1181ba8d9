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


def shows_bar(*, quiet: bool) -> bool:
    """Whether a bar is for anybody to see."""
    return not quiet and sys.stderr.isatty()


class _Relay(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


_relay = _Relay()


def relay(name: str) -> None:
    """Say from now on what the logger of this name is told."""
    log = logging.getLogger(name)
    log.addHandler(_relay)
    log.setLevel(logging.INFO)


def end_relay(name: str) -> None:
    """Leave the logger as it was."""
    log = logging.getLogger(name)
    log.removeHandler(_relay)
    log.setLevel(logging.NOTSET)
