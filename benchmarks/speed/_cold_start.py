"""One photo painted as `agnlib stylize` does it, in a process of its own, with the time of each stage printed.

Its one argument is JSON: photo, target, engine, threads, when the process was started (`time.time()`), and weights, or
the program of one style, which is painted without torch. "CPU" is the processor's time in all, of all threads.
"""

import json
import sys
import time
from typing import Any


def main() -> None:
    order = json.loads(sys.argv[1])
    stages, last = dict[str, float](), order["started"]

    def passed(stage: str) -> None:
        nonlocal last
        stages[stage], last = time.time() - last, time.time()

    passed("interpreter")
    if "weights" in order:
        import torch

        torch.set_num_threads(order["threads"])
    passed("import torch")
    from agnlib._exported import _runtimes, _stylizer
    from agnlib.cli import _stylize, main  # noqa: F401 - for their time

    if "weights" in order:
        from agnlib.stylizer import Stylizer
    main.keep_freed_memory()
    passed("import agnlib")
    if "weights" in order:
        stylizer: Any = Stylizer.from_pretrained(order["weights"], "cpu", engine=order["engine"])
    else:
        machine = _runtimes.Machine(order["engine"], threads=order["threads"])
        stylizer = _stylizer.ExportedStylizer.of_style(order["program"], machine)
        stylizer.started(stylizer.network)
    passed("weights and engine")
    style = stylizer.encode_style("auvers") if "weights" in order else stylizer.own_style()
    passed("style")
    stylizer.stylize_file(order["photo"], order["target"], style, overwrite=True)
    passed("painting and file")
    print(json.dumps({**stages, "CPU": time.process_time()}))


if __name__ == "__main__":
    main()
