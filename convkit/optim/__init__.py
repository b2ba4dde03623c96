"""Optimisers and learning rate schedules, with torch's names, settings and numbers.

>>> import convkit
>>> from convkit import nn, optim
>>> net = nn.Linear(4, 2)
>>> optimizer = optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
>>> schedule = optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10)
>>> for epoch in range(10):
...     optimizer.zero_grad()
...     net(convkit.ones(3, 4)).sum().backward()
...     optimizer.step()
...     schedule.step()
>>> schedule.get_last_lr()
[0.0]
"""

from . import lr_scheduler, swa_utils
from .adam import Adam, Adamax, AdamW, NAdam, RAdam
from .adaptive import Adadelta, Adagrad, RMSprop
from .lbfgs import LBFGS
from .optimizer import Optimizer
from .sgd import ASGD, SGD, Rprop

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "lr_scheduler",
    "swa_utils",
]
