"""How the program speaks to its user."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """One line on stderr, whatever characters the message has."""
    print(line(message), file=sys.stderr)


def line(message: str) -> str:
    """A message as `say` prints it."""
    return f"agnlib: {' '.join(message.split())}"
