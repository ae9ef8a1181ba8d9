"""Make examples/images/ and agnlib/styles/pictures/ again from packages, and write where each picture comes from.

    python examples/fetch_images.py

Needs scikit-image (pip) and a Debian with `apt-get` and `dpkg`: two packages are downloaded and unpacked into a
temporary folder, nothing is installed. The photographs of gcompris-qt-data lie in Qt resource files, its paintings
there as the pieces of a jigsaw puzzle, which are put together again.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
import struct
import subprocess
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import skimage
from PIL import Image

IMAGES = Path(__file__).resolve().parent / "images"
WORKS = IMAGES.parents[1] / "agnlib" / "styles" / "pictures"
DEBIAN_PACKAGES = ("gcompris-qt-data", "palapeli-data")
PHOTO_SIDE, REFERENCE_SIDE, QUALITY = 768, 512, 90
PAINTED = "the painting: public domain"


@dataclass(frozen=True)
class Picture:
    """One file of examples/images and where it comes from."""

    name: str
    what: str
    author: str
    license: str
    package: str
    file: str
    reference: bool = False


PICTURES = (
    Picture("astronaut", "Eileen Collins (face)", "NASA", "public domain", "scikit-image", "data/astronaut.png"),
    Picture(
        "castle",
        "Chenonceau (buildings)",
        "Alf van Beem",
        "public domain",
        "gcompris-qt-data",
        "explore_monuments/resource/france/chateaudeChenonceau.webp",
    ),
    Picture(
        "mountain",
        "Machu Picchu (landscape)",
        "Guillaume Pascal",
        "CC0-1.0",
        "gcompris-qt-data",
        "explore_monuments/resource/wonders/machuPicchu.webp",
    ),
    Picture("chelsea", "Chelsea (animal)", "Stéfan van der Walt", "CC0-1.0", "scikit-image", "data/chelsea.png"),
    Picture("coffee", "a cup of coffee (still life)", "Rachel Michetti", "CC0-1.0", "scikit-image", "data/coffee.png"),
    Picture(
        "city",
        "Roebling bridge, Cincinnati (city at night)",
        "Derek Jensen",
        "public domain",
        "palapeli-data",
        "collection/cincinnati-bridge.jpg",
    ),
    Picture("poppies", "Poppies, 1833", "Katsushika Hokusai (1760-1849)", PAINTED, "gcompris-qt-data", "11", True),
    Picture(
        "mackerel",
        "Horse-mackerel and prawn, 1840",
        "Utagawa Hiroshige (1797-1858)",
        PAINTED,
        "gcompris-qt-data",
        "9",
        True,
    ),
    Picture("spring", "Spring, 1573", "Giuseppe Arcimboldo (1526-1593)", PAINTED, "gcompris-qt-data", "2", True),
    Picture("summertime", "Summertime, 1894", "Mary Cassatt (1844-1926)", PAINTED, "gcompris-qt-data", "21", True),
    Picture(
        "auvers",
        "Village street in Auvers, 1890",
        "Vincent van Gogh (1853-1890)",
        PAINTED,
        "gcompris-qt-data",
        "22",
        True,
    ),
    Picture(
        "composition",
        "Composition VIII, 1923",
        "Wassily Kandinsky (1866-1944)",
        PAINTED,
        "gcompris-qt-data",
        "19",
        True,
    ),
)


@dataclass(frozen=True)
class Work:
    """One of the works in the public domain that come with agnlib, as a board of the jigsaw puzzles."""

    name: str
    title: str
    artist: str
    lived: str
    year: str
    style_class: str
    board: int


SHIPPED = (
    Work("auvers", "Village Street in Auvers", "Vincent van Gogh", "1853-1890", "1890", "", 22),
    Work("composition", "Composition VIII", "Wassily Kandinsky", "1866-1944", "1923", "", 19),
    Work("galette", "Bal du moulin de la Galette", "Pierre-Auguste Renoir", "1841-1919", "1876", "", 1),
    Work("harvesters", "The Harvesters", "Pieter Bruegel the Elder", "1525-1569", "1565", "old-masters", 17),
    Work("lion", "Lion", "Albrecht Dürer", "1471-1528", "1494", "old-masters", 16),
    Work("mackerel", "Horse-mackerel and Prawn", "Utagawa Hiroshige", "1797-1858", "1840", "ukiyo-e", 9),
    Work("oiran", "Oiran and Kamuro", "Katsushika Hokusai", "1760-1849", "about 1815", "ukiyo-e", 4),
    Work("piano", "Girls at the Piano", "Pierre-Auguste Renoir", "1841-1919", "1892", "", 18),
    Work("poppies", "Poppies", "Katsushika Hokusai", "1760-1849", "1833", "ukiyo-e", 11),
    Work("spring", "Spring", "Giuseppe Arcimboldo", "1526-1593", "1573", "old-masters", 2),
    Work("summertime", "Summertime", "Mary Cassatt", "1844-1926", "1894", "", 21),
    Work("wave", "The Great Wave off Kanagawa", "Katsushika Hokusai", "1760-1849", "about 1831", "ukiyo-e", 7),
)

SOURCES_HEAD = """# Where the pictures come from

Written by `examples/fetch_images.py`, which also makes the pictures again from these packages. They are reduced
(photographs to {photo} px, references to {reference} px on the longer side) and saved as JPEG of quality {quality}.
None of them was trained on.

No package with a free photograph of a busy street was found; the city at night is the nearest thing.
"""
SOURCES_TAIL = """
The paintings are in the public domain: the last of their painters died in 1944, the last of them is of 1923.
gcompris-qt-data has them as the pieces of jigsaw puzzles; its reproductions come from the WebMuseum (Nicolas Pioch),
and it lists them under GPL-3+. A faithful reproduction of a flat work in the public domain carries no rights of its own
in the European Union (Directive (EU) 2019/790, article 14) or in the United States (Bridgeman v. Corel, 1999).
"""


def main() -> None:
    """Fetch, convert, record."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        versions = unpack(Path(folder))
        share = Path(folder) / "usr" / "share"
        for picture in PICTURES:
            save(picture, read(picture, share))
        ship(share, versions["gcompris-qt-data"])
    (IMAGES / "SOURCES.md").write_text(sources(versions), encoding="utf-8")


def unpack(folder: Path) -> dict[str, str]:
    """Download the Debian packages and unpack them; package -> version."""
    subprocess.run(["apt-get", "download", *DEBIAN_PACKAGES], cwd=folder, check=True)
    versions = {"scikit-image": importlib.metadata.version("scikit-image")}
    for archive in sorted(folder.glob("*.deb")):
        subprocess.run(["dpkg", "-x", archive, folder], check=True)
        show = subprocess.run(
            ["dpkg-deb", "-f", archive, "Package", "Version"], check=True, capture_output=True, text=True
        )
        name, version = re.findall(r": (.+)", show.stdout)
        versions[name] = version
    return versions


def read(picture: Picture, share: Path) -> Image.Image:
    """The picture as the package has it."""
    if picture.package == "scikit-image":
        return Image.open(Path(skimage.__file__).parent / picture.file)
    if picture.package == "palapeli-data":
        return Image.open(share / "palapeli" / picture.file)
    activity = "paintings" if picture.reference else picture.file.split("/")[0]
    resources = dict(ResourceFile(share / "gcompris-qt" / "rcc" / f"{activity}.rcc").walk())
    if picture.reference:
        return assemble(f"board{picture.file}_0.qml", resources)
    return Image.open(io.BytesIO(_ending(resources, picture.file)))


def ship(share: Path, version: str) -> None:
    """Write the works that come with agnlib, at the size that the package has them, and what is known of each."""
    WORKS.mkdir(parents=True, exist_ok=True)
    resources = dict(ResourceFile(share / "gcompris-qt" / "rcc" / "paintings.rcc").walk())
    known = {}
    for work in SHIPPED:
        image = assemble(f"board{work.board}_0.qml", resources).convert("RGB")
        image.save(WORKS / f"{work.name}.jpg", quality=QUALITY, optimize=True)
        source = f"gcompris-qt-data {version}, paintings, board {work.board}"
        known[work.name] = {
            "title": work.title,
            "artist": f"{work.artist} ({work.lived})",
            "year": work.year,
            "style_class": work.style_class or None,
            "license": PAINTED,
            "source": source,
        }
    (WORKS / "works.json").write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def assemble(board: str, resources: dict[str, bytes]) -> Image.Image:
    """Put a jigsaw puzzle together: each piece's center is given as a part of the board's width and height."""
    rules = _ending(resources, f"/{board}").decode()
    width, height = (int(re.search(rf'"{side}": (\d+)', rules)[1]) for side in ("width", "height"))  # type: ignore[index]
    canvas, margin = Image.new("RGBA", (width + 200, height + 200)), 100
    for file, x, y in re.findall(r'"(image/\S+webp)",\s*"x" : "([\d.]+)",\s*"y" : "([\d.]+)"', rules):
        piece = Image.open(io.BytesIO(_ending(resources, file))).convert("RGBA")
        left, top = float(x) * width - piece.width / 2, float(y) * height - piece.height / 2
        canvas.alpha_composite(piece, (round(left) + margin, round(top) + margin))
    left, top, right, bottom = canvas.getbbox()  # type: ignore[misc]
    return canvas.crop((left + 5, top + 5, right - 5, bottom - 5))  # the pieces do not end on one line


def save(picture: Picture, image: Image.Image) -> None:
    """Reduce and write as JPEG."""
    image = image.convert("RGB")
    side = REFERENCE_SIDE if picture.reference else PHOTO_SIDE
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    image.save(IMAGES / f"{picture.name}.jpg", quality=QUALITY, optimize=True)


def sources(versions: dict[str, str]) -> str:
    """SOURCES.md."""
    rows = ["| file | what | author | license | package | file in it |", "|---|---|---|---|---|---|"]
    for picture in PICTURES:
        file = f"paintings, board {picture.file}" if picture.reference else picture.file
        package = f"{picture.package} {versions[picture.package]}"
        cells = (f"{picture.name}.jpg", picture.what, picture.author, picture.license, package, f"`{file}`")
        rows.append("| " + " | ".join(cells) + " |")
    head = SOURCES_HEAD.format(photo=PHOTO_SIDE, reference=REFERENCE_SIDE, quality=QUALITY)
    return "\n".join([head, *rows, SOURCES_TAIL])


class ResourceFile:
    """A Qt resource file: a tree of entries, their names and their data, all big-endian."""

    def __init__(self, file: Path) -> None:
        self._raw = file.read_bytes()
        magic, version, self._tree, self._data, self._names = struct.unpack(">4sIIII", self._raw[:20])
        self._entry_size = 14 if version < 2 else 22
        if magic != b"qres":
            raise SystemExit(f"{file.name} is not a Qt resource file; has the package changed?")

    def walk(self, index: int = 0, folder: str = "") -> Iterator[tuple[str, bytes]]:
        """Paths and contents of all files under an entry, the root by default."""
        place = self._tree + index * self._entry_size
        name, flags, first, second = struct.unpack(">IHII", self._raw[place : place + 14])
        path = f"{folder}/{self._name(name)}" if index else ""
        if flags & 2:  # a folder: number of children, index of the first
            for child in range(second, second + first):
                yield from self.walk(child, path)
        else:  # a file: locale, offset of the data
            yield path, self._content(second, compressed=bool(flags & 1))

    def _name(self, offset: int) -> str:
        place = self._names + offset
        (length,) = struct.unpack(">H", self._raw[place : place + 2])
        return self._raw[place + 6 : place + 6 + 2 * length].decode("utf-16-be")

    def _content(self, offset: int, *, compressed: bool) -> bytes:
        place = self._data + offset
        (length,) = struct.unpack(">I", self._raw[place : place + 4])
        content = self._raw[place + 4 : place + 4 + length]
        return zlib.decompress(content[4:]) if compressed else content


def _ending(resources: dict[str, bytes], ending: str) -> bytes:
    for path, content in resources.items():
        if path.endswith(ending):
            return content
    raise SystemExit(f"the package has no {ending} any more; see examples/images/SOURCES.md for the version that had")


if __name__ == "__main__":
    main()
