"""How the demo page looks: its style sheet and what it says beside the controls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

__all__ = ["SCROLL_TO_RESULT", "WELCOME", "said", "sheet", "wrong"]

WELCOME = '<p class="agn-empty">Choose a photo and a style: the painting appears here.</p>'
# On a phone the result lies below the choice: bring it into sight when it is asked for.
SCROLL_TO_RESULT = """(...given) => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (innerWidth < 900) {
    document.getElementById("view").scrollIntoView({behavior: calm ? "auto" : "smooth"});
  }
  return given;
}"""

_SHEET = Path(__file__).parent / "assets" / "page.css"


def sheet(thumbnails: Mapping[str, Mapping[str, str]]) -> str:
    """The style sheet as a piece of a page, with a picture beside each of a choice, by the choice's id."""
    pictures = [
        f'#{choice} label:has(input[value="{value}"]):before {{background-image: url("{url}")}}'
        for choice, urls in thumbnails.items()
        for value, url in urls.items()
        if value.replace("-", "").isalnum()
    ]
    return f"<style>{_SHEET.read_text('utf-8')}{''.join(pictures)}</style>"


def said(message: str) -> str:
    """A line below the result."""
    return f"<p>{message}</p>"


def wrong(message: str) -> str:
    """A mistake, in the same place."""
    return f'<p class="agn-wrong" role="alert">{message}</p>'
