"""How large the shipped weights are: parameters of each network, bytes on disk.

python benchmarks/speed/size.py | tee benchmarks/results/size.md
"""

from __future__ import annotations

from agnlib.models import pretrained
from benchmarks._common import CHECKOUT, markdown_table


def main() -> None:
    rows = []
    for name in pretrained.available():
        bundle = pretrained.load(name)
        networks = {"generator": bundle.generator, "extractor": bundle.extractor, "discriminator": bundle.discriminator}
        for role, network in networks.items():
            if network is not None:
                rows.append([f"{name}: {role}", f"{sum(p.numel() for p in network.parameters()):,}", ""])
    for path in sorted((CHECKOUT / "agnlib" / "weights").glob("*/*.safetensors")):
        rows.append([f"{path.parent.name}/{path.name}", "", f"{path.stat().st_size / 1e6:.1f} MB"])
    print(markdown_table(["weights", "parameters", "size"], rows))


if __name__ == "__main__":
    main()
