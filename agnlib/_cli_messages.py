"""How the program speaks to its user."""

from __future__ import annotations

import sys


def say(message: str) -> None:
    """One line on stderr, whatever characters the message has."""
    print(f"agnlib: {' '.join(message.split())}", file=sys.stderr)
