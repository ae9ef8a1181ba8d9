"""Which kinds of picture files are read, and the names of those that are not, to say so."""

from __future__ import annotations

import importlib.util
from collections import Counter
from collections.abc import Iterable
from pathlib import PurePath

__all__ = [
    "HEIF_SUFFIXES",
    "READ_SUFFIXES",
    "foreign_kind",
    "is_raw",
    "left_out",
    "names_a_file",
    "remedy",
    "written_suffix",
]

HEIF_SUFFIXES = (".heic", ".heif", ".hif")
# fmt: off
_RAW = (
    ".dng", ".cr2", ".cr3", ".crw", ".nef", ".nrw", ".arw", ".srf", ".sr2", ".orf", ".rw2", ".raf", ".pef", ".srw",
    ".raw", ".rwl", ".3fr", ".x3f", ".iiq", ".mrw", ".kdc", ".dcr", ".erf", ".mef", ".mos",
)
_OTHERS = (
    ".gif", ".jxl", ".jp2", ".j2k", ".jpx", ".psd", ".psb", ".svg", ".ico", ".tga", ".ppm", ".pgm", ".pnm", ".pbm",
    ".exr", ".hdr", ".dds", ".eps", ".pcx", ".xcf", ".mpo", ".insp",
)
# fmt: on
_WITH = {  # a module, and what is read where it is there
    "pillow_heif": HEIF_SUFFIXES,
    "PIL._avif": (".avif",),
}


def _readable() -> tuple[str, ...]:
    more = [suffixes for module, suffixes in _WITH.items() if importlib.util.find_spec(module) is not None]
    return (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".jfif", ".jpe", *sum(more, ()))


READ_SUFFIXES = _readable()
_UNREAD = [
    *(suffix for suffixes in _WITH.values() for suffix in suffixes if suffix not in READ_SUFFIXES),
    *_RAW,
    *_OTHERS,
]
_OTHER_FILES = ".safetensors .json .onnx .pt2 .txt .pdf .zip"
_SIGNATURES = (
    (0, b"GIF8", "GIF"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "PostScript"),
    (0, b"\xc5\xd0\xd3\xc6", "PostScript"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"<!DOCTYPE", "a web page"),
    (0, b"<!doctype", "a web page"),
    (0, b"<html", "a web page"),
    (0, b"\xff\x0a", "JPEG XL"),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphe", "HEIC"),
    (4, b"ftypmif", "HEIC or AVIF"),
    (4, b"ftypmsf", "HEIC"),
    (4, b"ftypcrx", "raw"),
    (4, b"ftyp", "a film"),
    (0, b"\x1a\x45\xdf\xa3", "a film"),
    (0, b"FUJIFILMCCD-RAW", "raw"),
    (8, b"CR\2\0", "raw"),
)
_REMEDIES = {
    "raw": "develop it to JPEG or TIFF first, by the camera's program or another",
    "PDF": "save its page as a PNG first",
    "SVG": "save it as a PNG first",
    "XML or SVG": "save it as a PNG first",
    "a web page": "save the picture itself, not the page about it",
    "a film": "give it as a file with its suffix, such as .mp4, for it is painted as a clip",
    "GIF": "it is painted as a clip, to .gif, .webp or .mp4; elsewhere convert it to one of these",
}


def foreign_kind(start: bytes) -> str | None:
    """What a file that begins like this is, where it is of a well-known kind that is not read.

    Example:
        >>> foreign_kind(b"GIF89a")
        'GIF'
    """
    return next((name for place, mark, name in _SIGNATURES if start[place:].startswith(mark)), None)


def remedy(kind: str | None) -> str:
    """What to do about a file of a kind that is not read.

    Example:
        >>> remedy("PDF"), remedy("JPEG XL")
        ('save its page as a PNG first', 'convert it to one of these')
    """
    return _REMEDIES.get(kind or "", "convert it to one of these")


def is_raw(name: str) -> bool:
    """Whether a name ends as those of cameras' raw files do, of which many begin as TIFFs do.

    Example:
        >>> is_raw("DSC_0001.NEF"), is_raw("a.tif")
        (True, False)
    """
    return PurePath(name).suffix.lower() in _RAW


def written_suffix(kind: str) -> str:
    """The suffix for what is painted from a picture of a kind, as Pillow calls that: its own, where it is written.

    Example:
        >>> written_suffix("JPEG"), written_suffix("MPO"), written_suffix("HEIF"), written_suffix("AVIF")
        ('.jpg', '.jpg', '.jpg', '.png')
    """
    own = {"JPEG": ".jpg", "MPO": ".jpg", "HEIF": ".jpg", "WEBP": ".webp", "TIFF": ".tif", "BMP": ".bmp"}
    return own.get(kind, ".png")


def names_a_file(name: str) -> bool:
    """Whether a name ends as those of pictures and of our other files do, so that a new folder of it is a slip.

    Example:
        >>> [names_a_file(name) for name in ("out.heic", "code.safetensors", "2024.07.14", "painted")]
        [True, True, False, False]
    """
    suffix = PurePath(name).suffix.lower()
    return bool(suffix) and suffix in {*READ_SUFFIXES, *_UNREAD, *_OTHER_FILES.split()}


def left_out(names: Iterable[str]) -> str:
    """Pictures of kinds that are not read, counted by kind; empty where there are none.

    Example:
        >>> left_out(["a.PSD", "b.psd", "c.cr2", "d.jpg", "notes.txt"])
        '2 .psd and 1 .cr2, of kinds that are not read; convert them to JPEG or PNG'
    """
    found = Counter(suffix for name in names if (suffix := PurePath(name).suffix.lower()) in _UNREAD)
    counts = [f"{count:,} {suffix}" for suffix, count in sorted(found.items(), key=lambda each: (-each[1], each[0]))]
    if not counts:
        return ""
    listed = " and ".join([", ".join(counts[:-1]), counts[-1]] if len(counts) > 1 else counts)
    pip = '; or for HEIC: pip install "agnlib[heif]"' if found.keys() & set(HEIF_SUFFIXES) else ""
    return f"{listed}, of kinds that are not read; convert them to JPEG or PNG{pip}"
