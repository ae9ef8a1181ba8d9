"""`agnlib demo`."""

from __future__ import annotations

import argparse

from agnlib.cli._messages import say
from agnlib.errors import InputError

__all__ = ["run"]


def run(arguments: argparse.Namespace) -> int:
    """Serve the page until Ctrl-C.

    Raises:
        AgnError: Gradio is not installed, unknown weights, or the port is taken.
    """
    from agnlib._shared.optional import require
    from agnlib.demo import serve
    from agnlib.stylizer import Stylizer

    if not 0 <= arguments.port <= 65535:
        raise InputError(f"argument --port: must be from 0 to 65535, got {arguments.port}")
    require("gradio", extra="demo", purpose="the demo page")
    if arguments.threads:
        import torch

        torch.set_num_threads(arguments.threads)
    stylizer = Stylizer.from_pretrained(arguments.weights, device=arguments.device)
    serve(
        stylizer,
        host=arguments.host,
        port=arguments.port,
        browser=not arguments.no_browser,
        ready=lambda url: say(f"the page is at {url}; Ctrl-C ends it"),
    )
    return 0
