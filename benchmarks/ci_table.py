"""What CI spends where: a table from the log of `.ci/run`.

.ci/run > ci.log; python benchmarks/ci_table.py ci.log | tee benchmarks/results/ci.md
"""

from __future__ import annotations

import itertools
import re
import sys
from pathlib import Path

from _common import fail, markdown_table

_STEP = re.compile(r"^== (.*) \((\d+)s\)$", re.MULTILINE)
_TESTS = re.compile(r"^\d+ passed.*? in [\d.]+s.*$", re.MULTILINE)
_COVERAGE = re.compile(r"^coverage: .*$", re.MULTILINE)


def table(log: str) -> str:
    """Markdown: each step with its seconds, the whole, and pytest's last line.

    Example:
        >>> print(table("== lint (3s)\\n== done (10s)\\n").splitlines()[2])
        | lint   |       7 |
    """
    steps = [(name, int(second)) for name, second in _STEP.findall(log)]
    rows = [[now[0], str(then[1] - now[1])] for now, then in itertools.pairwise(steps)]
    rows = [row for row in rows if row[1] != "0"]
    found = markdown_table(["step", "seconds"], [*rows, ["in all", str(steps[-1][1])]])
    return "\n\n".join([found, *(each[0] for each in (_TESTS.search(log), _COVERAGE.search(log)) if each)])


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_file():
        fail("expected the log of .ci/run; usage: python benchmarks/ci_table.py ci.log")
    log = Path(sys.argv[1]).read_text("utf-8")
    if "== done" not in log:
        fail(f"{sys.argv[1]} is not the log of a whole .ci/run: it lacks the line '== done'")
    print(table(log))


if __name__ == "__main__":
    main()
