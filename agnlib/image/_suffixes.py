"""Which kinds of picture files are read, and the names of those that are not, to say so."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

__all__ = ["READ_SUFFIXES", "foreign_kind", "left_out", "names_a_file"]

READ_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".jfif", ".jpe")
_UNREAD = (
    ".heic .heif .avif .gif .jxl .jp2 .j2k .jpx .psd .psb .svg .ico .tga .ppm .pgm .pnm .pbm .exr .hdr .dds .eps .pcx"
    " .xcf .mpo .insp .dng .cr2 .cr3 .crw .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .raw .rwl .3fr .x3f .iiq"
    " .mrw .kdc .dcr .erf .mef .mos"
)
_OTHER_FILES = ".safetensors .json .onnx .pt2 .txt .pdf .zip"
_SIGNATURES = (
    (0, b"GIF8", "GIF"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphe", "HEIC"),
    (4, b"ftypmif", "HEIC or AVIF"),
    (4, b"ftypmsf", "HEIC"),
    (4, b"ftypcrx", "raw"),
    (0, b"FUJIFILMCCD-RAW", "raw"),
)


def foreign_kind(start: bytes) -> str | None:
    """What a file that begins like this is, where it is of a well-known kind that is not read.

    Example:
        >>> foreign_kind(b"GIF89a")
        'GIF'
    """
    return next((name for place, mark, name in _SIGNATURES if start[place:].startswith(mark)), None)


def names_a_file(name: str) -> bool:
    """Whether a name ends as those of pictures and of our other files do, so that a new folder of it is a slip.

    Example:
        >>> [names_a_file(name) for name in ("out.heic", "code.safetensors", "2024.07.14", "painted")]
        [True, True, False, False]
    """
    suffix = PurePath(name).suffix.lower()
    return bool(suffix) and suffix in {*READ_SUFFIXES, *_UNREAD.split(), *_OTHER_FILES.split()}


def left_out(names: Iterable[str]) -> str:
    """Pictures of kinds that are not read, counted by kind; empty where there are none.

    Example:
        >>> left_out(["a.HEIC", "b.heic", "c.gif", "d.jpg", "notes.txt"])
        '2 .heic and 1 .gif, of kinds that are not read; convert them to JPEG or PNG'
    """
    found = Counter(suffix for name in names if (suffix := PurePath(name).suffix.lower()) in _UNREAD.split())
    counts = [f"{count:,} {suffix}" for suffix, count in sorted(found.items(), key=lambda each: (-each[1], each[0]))]
    if not counts:
        return ""
    listed = " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
    return f"{listed}, of kinds that are not read; convert them to JPEG or PNG"
