"""Picture files, PIL images and arrays to tensors and back: the only subpackage that knows image formats.

`load`, `read`, `save` and `encode` deal with files and their bytes, and need no torch. `Picture` stands between
whatever a user holds and the float `(B, 3, H, W)` tensors in [-1, 1] that the models speak.
"""

from agnlib.image._encoded import PictureFile
from agnlib.image._metadata import kept_exif, read_recipe
from agnlib.image._resizing import reduced_size
from agnlib.image._targets import SUFFIXES, check_output, check_place, holds_16_bits
from agnlib.image._writing import encode, save, write_file, writing
from agnlib.image.files import DEFAULT_LIMITS, Limits, load, probe, read
from agnlib.image.picture import Picture, PictureLike

__all__ = [
    "DEFAULT_LIMITS",
    "SUFFIXES",
    "Limits",
    "Picture",
    "PictureFile",
    "PictureLike",
    "check_output",
    "check_place",
    "encode",
    "holds_16_bits",
    "kept_exif",
    "load",
    "probe",
    "read",
    "read_recipe",
    "reduced_size",
    "save",
    "write_file",
    "writing",
]
