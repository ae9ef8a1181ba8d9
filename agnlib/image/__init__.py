"""Picture files, PIL images and arrays to tensors and back: the only room that knows image formats.

`load` and `save` deal with files and need no torch. `Picture` is the door between whatever a user holds and the float
`(B, 3, H, W)` tensors in [-1, 1] that the models speak.
"""

from agnlib.image.door import Picture, PictureLike, shrink
from agnlib.image.files import SUFFIXES, Limits, check_output, load, probe, save, write_file

__all__ = [
    "SUFFIXES",
    "Limits",
    "Picture",
    "PictureLike",
    "check_output",
    "load",
    "probe",
    "save",
    "shrink",
    "write_file",
]
