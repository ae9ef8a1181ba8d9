"""Put the measured tables into the pages that show them, so that no number is typed.

    python benchmarks/quality/quality.py ... | tee benchmarks/results/quality.md    # and the others likewise
    python benchmarks/publish.py

Between `<!-- begin NAME -->` and `<!-- end NAME -->` every page gets the contents of `benchmarks/results/NAME.md`.
"""

from __future__ import annotations

import re
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = (
    "CONTRIBUTING.md",
    "README.md",
    "docs/howto/augmentation.md",
    "docs/explanation/adversary.md",
    "docs/explanation/style-code.md",
    "docs/explanation/variants.md",
    "docs/measurements.md",
    *(f"agnlib/weights/{name}/README.md" for name in ("agn-base", "agn-small", "agn-fast")),
)
_MARKED = re.compile(r"(<!-- begin (?P<name>\w+) -->\n).*?(<!-- end (?P=name) -->)", re.DOTALL)


def main() -> None:
    """Rewrite the pages."""
    for page in (CHECKOUT / name for name in PAGES):
        if page.is_file():
            page.write_text(published(page.read_text("utf-8")), "utf-8")


def published(text: str) -> str:
    """The text with every marked part replaced by its table; parts without a measurement stay as they are."""
    return _MARKED.sub(_replacement, text)


def _replacement(match: re.Match[str]) -> str:
    source = CHECKOUT / "benchmarks" / "results" / f"{match['name']}.md"
    if not source.is_file():
        return match[0]
    return f"{match[1]}{source.read_text('utf-8').strip()}\n{match[3]}"


if __name__ == "__main__":
    main()
