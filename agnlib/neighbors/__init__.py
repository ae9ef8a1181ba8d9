"""Neural neighbors: a picture painted by optimization, with the forms and strokes of its references.

The network of agnlib composes a painting; then, from coarse to fine, the features at each place are replaced by their
nearest neighbors among the reference's, and the picture changes until it has them. Encoders are handed in.

Paper: Kolkin et al., "Neural neighbor style transfer", 2022.
"""

from agnlib.neighbors._coarse_to_fine import Plan, Progress, paint
from agnlib.neighbors._reference import Reference

__all__ = ["Plan", "Progress", "Reference", "paint"]
