"""The model cards lie beside their weights and link to each other; on one page these links lead to its headings."""

from __future__ import annotations

import re
from typing import Any

_TO_A_CARD = re.compile(r"\]\(\.\./([\w-]+)/README\.md(#[\w-]+)?\)")


def include_read(app: Any, path: Any, parent: str, content: list[str]) -> None:
    """Sphinx's hook for each text that a page includes."""
    if parent == "weights":
        content[0] = _TO_A_CARD.sub(lambda link: f"]({link[2] or f'#model-card-{link[1]}'})", content[0])
