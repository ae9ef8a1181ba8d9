"""Write the inventories: which page of which documentation a name of another project stands on.

    python docs/inventories/make.py

Only names that agnlib's own documentation mentions are listed, so the files stay small and a build needs no network.
"""

from __future__ import annotations

from pathlib import Path

from sphobjinv import DataObjStr, Inventory, writebytes
from sphobjinv.zlib import compress

NAMES = {
    "python": {
        "class": {
            "library/stdtypes.html": ["dict", "int", "list", "str", "tuple", "bytes", "range"],
            "library/functions.html": ["bool", "float", "object"],
            "library/contextlib.html": ["contextlib.AbstractContextManager"],
            "library/types.html": ["types.EllipsisType"],
            "library/pathlib.html": ["pathlib.Path"],
            "library/os.html": ["os.PathLike"],
            "library/typing.html": ["typing.Any", "typing.NamedTuple", "typing.Protocol"],
            "library/collections.abc.html": [
                f"collections.abc.{name}" for name in ("Callable", "Iterable", "Iterator", "Mapping", "Sequence")
            ],
        },
        "exception": {
            "library/exceptions.html": ["Exception", "ImportError", "RuntimeError", "TypeError", "ValueError"],
        },
    },
    "numpy": {
        "class": {
            "reference/generated/numpy.ndarray.html": ["numpy.ndarray"],
            "reference/generated/numpy.dtype.html": ["numpy.dtype"],
            "reference/typing.html": ["numpy.typing.DTypeLike", "numpy.typing.NDArray"],
        }
    },
    "PIL": {"class": {"reference/Image.html": ["PIL.Image.Image", "PIL.Image.Exif"]}},
    "torchvision": {
        "class": {
            "generated/torchvision.transforms.v2.Transform.html": ["torchvision.transforms.v2.Transform"],
        }
    },
    "torch": {
        "class": {
            "tensors.html": ["torch.Tensor"],
            "generated/torch.Generator.html": ["torch.Generator", "torch._C.Generator"],
            "tensor_attributes.html": ["torch.device", "torch.dtype"],
            "generated/torch.nn.Module.html": ["torch.nn.Module", "torch.nn.modules.module.Module"],
            "generated/torch.nn.Conv2d.html": ["torch.nn.Conv2d"],
            "generated/torch.nn.parameter.Parameter.html": ["torch.nn.parameter.Parameter"],
            "torch.overrides.html": ["torch.overrides.TorchFunctionMode"],
            "optim.html": ["torch.optim.Optimizer", "torch.optim.optimizer.Optimizer"],
            "data.html": ["torch.utils.data.Dataset", "torch.utils.data.dataset.Dataset"],
            "distributions.html": ["torch.distributions.Normal", "torch.distributions.normal.Normal"],
        }
    },
}


def write(project: str, roles: dict[str, dict[str, list[str]]]) -> None:
    """One inventory of objects in Python's domain, in Sphinx's own format."""
    inventory = Inventory()
    inventory.project, inventory.version = project, ""
    for role, pages in roles.items():
        for page, names in pages.items():
            for name in names:
                inventory.objects.append(
                    DataObjStr(name=name, domain="py", role=role, priority="1", uri=f"{page}#{name}", dispname="-")
                )
    text = inventory.data_file(contract=True)
    writebytes(str(Path(__file__).with_name(f"{project}.inv")), compress(text))


if __name__ == "__main__":
    for project, roles in NAMES.items():
        write(project, roles)
