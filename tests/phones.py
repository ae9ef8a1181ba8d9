"""A folder as a phone leaves it, each file made here, and what becomes of them.

python tests/phones.py FOLDER     makes the files
python tests/phones.py --table    prints the table of docs/howto/phones.md, from painting them
"""

from __future__ import annotations

import io
import struct
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import icc
import numpy as np
from PIL import Image, ImageCms

SIZE = (64, 48)
KINDS = {  # the file whose row it is, and what it is
    "IMG_0001.HEIC": "HEIC with a gain map",
    "IMG_0002.HEIC": "HEIC of 10 bits",
    "IMG_0003.HEIC": "HEIC in Display P3",
    "IMG_0004.JPG": "JPEG, to be turned by its EXIF orientation",
    "IMG_0005.JPG": "JPEG with a gain map (Ultra HDR)",
    "IMG_0006_BURST001.JPG": "the first of a burst",
    "IMG_0006_BURST002.JPG": "the second of a burst",
    "IMG_0007.HEIC": "portrait, with a map of depth",
    "IMG_0008.HEIC": "live photo",
    "IMG_0008.MOV": "its clip",
    "IMG_0009.JPG": "panorama",
    "IMG_0010.PNG": "screenshot with transparent corners",
    "IMG_0011.AVIF": "AVIF in Display P3, by numbers (nclx)",
    "IMG_0012.JPG": "JPEG in Adobe RGB, by its EXIF alone",
    "IMG_0013.DNG": "raw file",
}


def scene(size: tuple[int, int] = SIZE) -> Image.Image:
    """Width and height; smooth colors, another in each corner, of which some are vivid."""
    corners = np.array([[(220, 40, 40), (60, 170, 70)], [(50, 70, 200), (230, 200, 60)]], np.uint8)
    return Image.fromarray(corners).resize(size, Image.Resampling.BICUBIC)


def make(folder: Path) -> None:
    """All of the files."""
    import pillow_heif

    folder.mkdir(parents=True, exist_ok=True)
    picture, p3 = scene(), icc.profile("Display P3", icc.P3, icc.SRGB_CURVE)
    small = picture.resize((32, 24)).convert("L").convert("RGB")
    (folder / "IMG_0001.HEIC").write_bytes(auxiliary(heic(picture, small), "urn:com:apple:photo:2020:aux:hdrgainmap"))
    deep = (np.asarray(picture).astype(np.uint32) * 1023 // 255 * 64).astype(np.uint16)
    given = {"quality": 95, "bit_depth": 10, "chroma": 444}
    pillow_heif.encode("RGB;16", SIZE, deep.tobytes(), str(folder / "IMG_0002.HEIC"), **given)
    (folder / "IMG_0003.HEIC").write_bytes(heic(in_profile(picture, p3), icc_profile=p3))
    turned, exif = picture.transpose(Image.Transpose.ROTATE_90), Image.Exif()
    exif[274] = 6
    turned.save(folder / "IMG_0004.JPG", quality=95, exif=exif)
    (folder / "IMG_0005.JPG").write_bytes(ultra_hdr(picture, small))
    for number in (1, 2):
        picture.save(folder / f"IMG_0006_BURST00{number}.JPG", quality=95)
    (folder / "IMG_0007.HEIC").write_bytes(auxiliary(heic(picture, small), "urn:mpeg:hevc:2015:auxid:2"))
    (folder / "IMG_0008.HEIC").write_bytes(heic(picture))
    (folder / "IMG_0008.MOV").write_bytes(b"\0\0\0\x14ftypqt  \0\0\0\0qt  ")
    scene((256, 48)).save(folder / "IMG_0009.JPG", quality=95)
    clear = picture.convert("RGBA")
    for corner in ((0, 0), (60, 0), (0, 44), (60, 44)):
        clear.paste((0, 0, 0, 0), (*corner, corner[0] + 4, corner[1] + 4))
    clear.save(folder / "IMG_0010.PNG")
    (folder / "IMG_0011.AVIF").write_bytes(avif_in_p3(in_profile(picture, p3)))
    adobe_rgb(picture).save(folder / "IMG_0012.JPG", quality=95, exif=adobe_exif())
    (folder / "IMG_0013.DNG").write_bytes(b"II*\0" + bytes(30))


def heic(*pictures: Image.Image, **options: object) -> bytes:
    import pillow_heif

    whole, file = pillow_heif.HeifFile(), io.BytesIO()
    for each in pictures:
        whole.add_from_pillow(each)
    whole.save(file, quality=95, chroma=444, **options)
    return file.getvalue()


def in_profile(picture: Image.Image, profile: bytes) -> Image.Image:
    """The values that the colors have in a profile, by LittleCMS."""
    target = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    found = ImageCms.profileToProfile(picture, ImageCms.createProfile("sRGB"), target)
    assert found is not None
    found.info.clear()
    return found


def adobe_rgb(picture: Image.Image) -> Image.Image:
    return in_profile(picture, icc.profile("Adobe RGB (1998)", icc.ADOBE, icc.gamma(563 / 256)))


def adobe_exif() -> Image.Exif:
    """What cameras write for Adobe RGB in place of a profile (DCF 2.0)."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    return exif


def avif_in_p3(values: Image.Image) -> bytes:
    """Pillow writes the numbers of sRGB, which are exchanged here: primaries 12 are P3's."""
    file = io.BytesIO()
    values.save(file, "AVIF", quality=95, subsampling="4:4:4")
    data = file.getvalue()
    assert data.count(b"colrnclx") == 1
    place = data.index(b"colrnclx") + 8
    return data[:place] + struct.pack(">H", 12) + data[place + 2 :]


def ultra_hdr(picture: Image.Image, gain: Image.Image) -> bytes:
    """A JPEG with another one after it, in Multi-Picture Format, and XMP that says what that is."""
    file = io.BytesIO()
    picture.save(file, "MPO", quality=95, save_all=True, append_images=[gain])
    xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description hdrgm:Version="1.0"/>'
    data = file.getvalue()
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(xmp) + 2) + xmp + data[2:]


# --- HEIC: of two pictures, the second becomes an auxiliary one (ISO/IEC 23008-12) ------------------------------------


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place < len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        yield name, data[place + 8 : place + length]
        place += length


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", len(body) + 8, name) + body


def auxiliary(data: bytes, kind: str) -> bytes:
    """The second picture said to be of a kind for the first, such as its depth."""
    parts = dict(boxes(data))
    inside = dict(boxes(parts[b"meta"][4:]))
    first = struct.unpack(">H", inside[b"pitm"][4:6])[0]
    second = next(number for number in items(inside[b"iinf"]) if number != first)
    reference = box(b"auxl", struct.pack(">HHH", second, 1, first))
    properties = dict(boxes(inside[b"iprp"]))
    own = properties[b"ipco"] + box(b"auxC", bytes(4) + kind.encode() + b"\0")
    associated = associations(properties[b"ipma"], second, len(list(boxes(own))))
    changed = {
        **inside,
        b"iref": inside.get(b"iref", bytes(4)) + reference,
        b"iprp": box(b"ipco", own) + box(b"ipma", associated),
    }
    longer = sum(len(box(name, body)) for name, body in changed.items()) - len(parts[b"meta"][4:])
    changed[b"iloc"] = moved(inside[b"iloc"], longer)
    meta = parts[b"meta"][:4] + b"".join(box(name, body) for name, body in changed.items())
    return b"".join(box(name, meta if name == b"meta" else body) for name, body in boxes(data))


def items(iinf: bytes) -> list[int]:
    """The numbers of the pictures, which are coded by HEVC."""
    found = [body for name, body in boxes(iinf[6:]) if name == b"infe"]
    return [struct.unpack(">H", body[4:6])[0] for body in found if body[8:12] == b"hvc1"]


def associations(ipma: bytes, item: int, number: int) -> bytes:
    """With one more property, by its number, for one of the items."""
    count, place, found = struct.unpack(">I", ipma[4:8])[0], 8, ipma[:8]
    for _ in range(count):
        of, many = struct.unpack_from(">HB", ipma, place)
        listed = ipma[place + 3 : place + 3 + many]
        place += 3 + many
        listed += bytes([number]) if of == item else b""
        found += struct.pack(">HB", of, len(listed)) + listed
    return found


def moved(iloc: bytes, by: int) -> bytes:
    """Where the items lie in the file, so much further on."""
    version, sizes, count = iloc[0], struct.unpack(">H", iloc[4:6])[0], struct.unpack(">H", iloc[6:8])[0]
    offset, length, base, index = sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15
    assert version in (0, 1)
    assert (offset, length, index) == (4, 4, 0)
    data, place = bytearray(iloc), 8
    for _ in range(count):
        in_file = version == 0 or struct.unpack_from(">H", data, place + 2)[0] & 15 == 0
        place += (4 if version else 2) + 2 + base
        many = struct.unpack_from(">H", data, place)[0]
        for extent in range(many):
            at = place + 2 + 8 * extent
            if in_file:
                struct.pack_into(">I", data, at, struct.unpack_from(">I", data, at)[0] + by)
        place += 2 + 8 * many
    return bytes(data)


# --- what becomes of them ---------------------------------------------------------------------------------------------


def table() -> str:
    """Of each file, from painting the folder."""
    from toy import make_weights

    from agnlib import Stylizer
    from agnlib.folder import stylize_folder

    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder, out = Path(place, "phone"), Path(place, "painted")
        make(folder)
        stylizer = Stylizer.from_pretrained(make_weights(Path(place, "weights")), "cpu")
        report = stylize_folder(stylizer, folder, out, folder / "IMG_0010.PNG")
        paintings = {Path(name).stem: name for name in report.paintings}
        assert not report.failed, report.failed
        rows = ["| file | what it is | what becomes of it |", "|---|---|---|"]
        for name, kind in KINDS.items():
            became = report.skipped.get(name) or said(out / paintings[Path(name).stem])
            rows.append(f"| {name} | {kind} | {f'left out: {became}' if name in report.skipped else became} |")
    return "\n".join(rows)


def said(path: Path) -> str:
    with Image.open(path) as image:
        alpha = ", with its transparency" if "A" in image.mode else ""
        return f"{path.name}, {image.width} x {image.height}{alpha}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--table"]:
        print(table())  # noqa: T201
    else:
        make(Path(sys.argv[1]))
