"""Weights from the Hugging Face Hub: `hf://owner/name@COMMIT`."""

from __future__ import annotations

import re
from pathlib import Path

from agnlib._shared.optional import require
from agnlib.errors import WeightsError

__all__ = ["PREFIX", "fetched"]

PREFIX = "hf://"
_ADDRESS = re.compile(r"hf://(?P<repository>[\w.-]+/[\w.-]+)@(?P<commit>[0-9a-f]{40})")


def fetched(address: str, files: tuple[str, ...]) -> Path:
    """The folder of a commit's files, downloaded once into the Hub's cache; then it needs no network.

    A commit is named by a hash of all that is in it, so what comes is what was meant. Nothing of it is executed.

    Raises:
        MissingDependencyError: huggingface_hub is not installed.
        WeightsError: the address names no commit, or the files cannot be had.
    """
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise WeightsError(
            f"{address!r} is no address of weights on the Hub; expected hf://OWNER/NAME@COMMIT with all 40 digits of"
            " the commit (a branch or tag may change)"
        )
    hub = require("huggingface_hub", extra="hub", purpose=address)
    try:
        paths = [
            Path(hub.hf_hub_download(found["repository"], file, revision=found["commit"], library_name="agnlib"))
            for file in files
        ]
    except Exception as error:  # of the Hub, of the network library underneath, or of the disk
        lines = str(error).strip().splitlines() or [""]
        raise WeightsError(
            f"{address} cannot be had ({type(error).__name__}: {lines[0]}); check the address and the network"
        ) from error
    return paths[0].parent
