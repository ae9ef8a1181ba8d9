"""`Single backticks` of docstrings: a link where they name what the reference has, else code; hooks of conf.py."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.domains.python import PyXRefRole
from sphinx.util.docutils import SphinxRole

_NAME = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_OURS = "backticks"  # the attribute by which a link of ours is known


class Backticks(SphinxRole):
    """The default role."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        """A link to be resolved, or code."""
        name = self.text.removesuffix("()")
        if not _NAME.fullmatch(name):
            return [nodes.literal(self.rawtext, self.text)], []
        role = PyXRefRole()
        found, messages = role("py:obj", self.rawtext, self.text, self.lineno, self.inliner, self.options, self.content)
        for node in found:
            node[_OURS] = True
            node["reftarget"] = name
        return found, messages


def find(app: Any, env: Any, node: Any, contnode: Any) -> Any:
    """What the module and the class at hand do not have: the one name that ends so, or else code without a link."""
    if not node.get(_OURS):
        return None
    target, domain = node["reftarget"], env.get_domain("py")
    if "." in target or target[0].isupper():
        ends = {
            entry.docname + "#" + entry.node_id: name for name, entry in domain.objects.items() if _ends(name, target)
        }
        if len(ends) == 1:
            (name,) = ends.values()
            return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", name, node, contnode)
    return contnode


def _ends(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")
