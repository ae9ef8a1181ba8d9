"""`python -m agnlib`: the same program as `agnlib`."""

from __future__ import annotations

import sys

from agnlib.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
