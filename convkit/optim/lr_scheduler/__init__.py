"""Learning rates that change as training goes on.

A schedule is a function of the epoch (or of the batch, wherever `step()` is called): each `step()` moves on to the next
one and sets the learning rate of every group of the optimiser to

    lr = rate(base_lr, epoch)

with the group's learning rate when the first schedule was made as base_lr.  The numbers are torch's.  The formula is linear in base_lr, so
a learning rate that was changed since the last step, by hand or by another schedule, is carried on: the step then goes as if the group
had started with the base_lr that would have led there.  So schedules can be chained.
"""

from .base import LRScheduler
from .combined import ChainedScheduler, ReduceLROnPlateau, SequentialLR
from .curves import (
    ConstantLR,
    CosineAnnealingLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    PolynomialLR,
    StepLR,
)
from .cycles import CosineAnnealingWarmRestarts, CyclicLR, OneCycleLR

__all__ = [
    "ChainedScheduler", "ConstantLR", "CosineAnnealingLR", "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LRScheduler", "LambdaLR",
    "LinearLR", "MultiStepLR", "MultiplicativeLR", "OneCycleLR", "PolynomialLR", "ReduceLROnPlateau", "SequentialLR", "StepLR",
]  # fmt: skip
