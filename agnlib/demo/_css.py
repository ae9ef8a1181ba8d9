"""How the demo page looks: its style sheet and what it says beside the controls."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from agnlib.demo._service import Now, data_url

__all__ = ["SCROLL_TO_RESULT", "TO_PAINT", "WELCOME", "growing", "said", "sheet", "so_far", "wrong"]

WELCOME = '<p class="agn-empty">Choose a photo and a style: the painting appears here.</p>'
# On a phone the result lies below the choice: bring it into sight when it is asked for.
SCROLL_TO_RESULT = """(...given) => {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  if (innerWidth < 900) {
    document.getElementById("view").scrollIntoView({behavior: calm ? "auto" : "smooth"});
  }
  return given;
}"""
# The button that was pressed goes.
TO_PAINT = "() => { document.getElementById('paint').focus({preventScroll: true}); return []; }"

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


def growing(now: Now | None) -> str:
    """The picture on its way, and a bar."""
    share = 0 if now is None else now.share
    bar = (
        f'<div class="agn-share"><progress max="1" value="{share:.3f}" aria-label="Painted"></progress>'
        f'<span aria-hidden="true">{share:.0%}</span></div>'
    )
    picture = None if now is None else now.picture
    if picture is None:
        return bar
    width, height = picture.size
    return (
        f'<figure class="agn-growing" style="aspect-ratio: {width} / {height}; --ratio: calc({width} / {height})">'
        f'<img src="{data_url(picture)}" alt="The painting as it is now"></figure>{bar}'
    )


def so_far(now: Now | None) -> str:
    """The same in words that change seldom enough to be read out."""
    quarters = ("Painting.", "A quarter is painted.", "Half is painted.", "Three quarters are painted.")
    return said(quarters[0 if now is None else min(3, int(4 * now.share))])
