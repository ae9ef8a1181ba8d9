"""Folders of photographs to folders of paintings: resumable, in shards, with decoding and encoding beside the painting.

`stylize_folder` is what `agnlib stylize DIR -o DIR` does.
"""

from agnlib.folder._report import FolderReport
from agnlib.folder._run import stylize_folder

__all__ = ["FolderReport", "stylize_folder"]
