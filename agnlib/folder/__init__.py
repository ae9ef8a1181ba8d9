"""Folders of photographs to folders of paintings: resumable, in shards, with decoding and encoding beside the painting.

`stylize_folder` is what `agnlib stylize DIR -o DIR` does.
"""

from agnlib.folder._report import FolderReport
from agnlib.folder._run import OnFile, stylize_folder

__all__ = ["FolderReport", "OnFile", "stylize_folder"]
