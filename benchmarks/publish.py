"""Put the measured tables into the pages that show them, so that no number is typed.

    python benchmarks/quality/quality.py ... | tee benchmarks/results/quality.md    # and the others likewise
    python benchmarks/publish.py

Between `<!-- begin NAME -->` and `<!-- end NAME -->` every page gets the contents of `benchmarks/results/NAME.md`.
"""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
RESULTS = CHECKOUT / "benchmarks" / "results"
_MARKED = re.compile(r"(<!-- begin (?P<name>\w+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)


def main() -> None:
    for page in pages():
        page.write_text(published(page.read_text("utf-8")), "utf-8")


def pages() -> list[Path]:
    """All that have a marked part."""
    found = (CHECKOUT.glob("*.md"), (CHECKOUT / "docs").rglob("*.md"), (CHECKOUT / "agnlib" / "weights").rglob("*.md"))
    return sorted(page for each in found for page in each if _MARKED.search(page.read_text("utf-8")))


def published(text: str) -> str:
    """The text with every marked part replaced by its table."""
    return _MARKED.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    table = (RESULTS / f"{match['name']}.md").read_text("utf-8").strip()
    return f"{match[1]}{table}\n{match[3]}"


if __name__ == "__main__":
    main()
