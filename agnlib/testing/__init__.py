"""Conformance checks for what other people add: a loss, a block, an encoder, a kernel, a trainer of their own.

Each check returns nothing when all is well and otherwise raises an `AssertionError` that says what is wrong; errors of
the thing itself come through with a note where they arose. They need no data, no GPU and no test framework:

    def test_my_loss():
        agnlib.testing.check_loss(MyLoss())
"""

from agnlib.testing._kernel import check_kernel
from agnlib.testing._parts import check_block, check_encoder, check_loss
from agnlib.testing._trainer import check_trainer

__all__ = ["check_block", "check_encoder", "check_kernel", "check_loss", "check_trainer"]
