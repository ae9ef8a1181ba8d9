"""Sphinx configuration: offline, nitpicky, every public name from its docstring."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

from sphinx.ext.intersphinx import resolve_reference_detect_inventory

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import agnlib  # noqa: E402

project = "agnlib"
author = "The agnlib authors"
copyright = "the agnlib authors, Apache-2.0"
version = release = agnlib.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_title = f"agnlib {version}"
exclude_patterns = ["_build", "inventories"]
nitpicky = True
default_role = "backticks"

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "show-inheritance": True, "special-members": "__call__"}
autodoc_type_aliases = {"npt.DTypeLike": "npt.DTypeLike"}
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
napoleon_custom_sections = ["Shapes"]
napoleon_use_rtype = False

# Inventories lie beside this file, so that a build needs no network; docs/inventories/README.md says how they are made.
intersphinx_mapping = {
    name: (address, str(HERE / "inventories" / f"{name}.inv"))
    for name, address in {
        "python": "https://docs.python.org/3/",
        "numpy": "https://numpy.org/doc/stable/",
        "PIL": "https://pillow.readthedocs.io/en/stable/",
        "torch": "https://docs.pytorch.org/docs/stable/",
        "torchvision": "https://docs.pytorch.org/vision/stable/",
    }.items()
}

# Annotations name things as the sources import them; this is where those names are at home.
ALIASES = {
    "typing_extensions.Unpack": "typing.Unpack",
    "agnlib._train_options.FinetuneSettings": "agnlib.training.FinetuneSettings",
    "agnlib._train_options.TrainSettings": "agnlib.training.TrainSettings",
    "Tensor": "torch.Tensor",
    "nn.Module": "torch.nn.Module",
    "images.PictureLike": "agnlib.image.PictureLike",
    "PictureLike": "agnlib.image.PictureLike",
    "Style": "agnlib.stylizer.Style",
    "MixedStyle": "agnlib.stylizer.MixedStyle",
    "OneStyle": "agnlib.stylizer.OneStyle",
    "StyleLike": "agnlib.transforms.StyleLike",
    "Box": "agnlib.tiling.Box",
    "Term": "agnlib.training.objective.terms.Term",
    "OnFile": "agnlib.folder.OnFile",
    "Painter": "agnlib.video.repainting.Painter",
    "PictureFile": "agnlib.image.PictureFile",
    "BinaryReader": "typing.IO",
    "BinaryWriter": "typing.IO",
    "agnlib.image._encoded.BinaryReader": "typing.IO",
    "agnlib.image._targets.BinaryWriter": "typing.IO",
    "Listener": "agnlib.stylizer.Listener",
    "Pictures": "agnlib.evaluation.Pictures",
    "Image.Image": "PIL.Image.Image",
    "npt.NDArray": "numpy.typing.NDArray",
    "State": "collections.abc.Mapping",
    "agnlib.models.pretrained.Model": "agnlib.models.pretrained.PretrainedModel",
    "agnlib.training.ema.Network": "torch.nn.Module",
    "PaintingOptions": "agnlib.stylizer.PaintingOptions",
    "npt.DTypeLike": "numpy.typing.DTypeLike",
    "torch.nn.modules.conv.Conv2d": "torch.nn.Conv2d",
    "torchvision.transforms.v2._transform.Transform": "torchvision.transforms.v2.Transform",
    "Path": "pathlib.Path",
    "Any": "typing.Any",
}


def find_by_alias(app, env, node, contnode):
    """Resolve a name that stands for another one, first among our own objects, then in the inventories."""
    target = ALIASES.get(node.get("reftarget", ""))
    if target is None:
        return None
    node["reftarget"] = target
    domain = env.get_domain("py")
    found = domain.resolve_xref(env, node.get("refdoc", ""), app.builder, "obj", target, node, contnode)
    return found or resolve_reference_detect_inventory(env, node, contnode)


def setup(app):
    sys.path.insert(0, str(HERE))
    app.connect("builder-inited", importlib.import_module("_gallery").builder_inited)
    app.connect("builder-inited", importlib.import_module("_import_layers").builder_inited)
    app.connect("include-read", importlib.import_module("_cards").include_read)
    app.connect("source-read", importlib.import_module("_command_line").commands_read)
    backticks = importlib.import_module("_backticks")
    app.add_role("backticks", backticks.Backticks())
    app.connect("missing-reference", backticks.find, priority=50)
    reference = importlib.import_module("_reference")
    app.connect("builder-inited", reference.builder_inited)
    app.connect("source-read", reference.modules_read)
    app.connect("autodoc-process-signature", reference.signature)
    app.connect("missing-reference", find_by_alias, priority=100)
