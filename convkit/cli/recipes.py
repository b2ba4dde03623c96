"""How each net is trained on each data set unless told otherwise: one table."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from .. import optim
from ..nn import Module
from ..nn import functional as F


@dataclass(frozen=True)
class Recipe:
    """Settings of `convkit train`, under the names of its options.

    `validation` is the part of the training data that is held out, as a fraction, or as a count from 1 on.
    """

    model: str
    epochs: int = 12
    batch_size: int = 128
    optimizer: str = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    schedule: str = "one-cycle"
    warmup: float = 0.0
    label_smoothing: float = 0.0
    validation: float = 5000


# The first recipe of a data set is that of its default model.  Chosen by validation accuracy; the test sets had no say.
RECIPES: dict[str, tuple[Recipe, ...]] = {
    "digits": (
        Recipe("digits_cnn", epochs=20, batch_size=32, lr=3e-3, validation=143),
        Recipe("lenet5", epochs=40, batch_size=32, lr=5e-3, validation=143),
    ),
    "mnist": (
        Recipe("keras_cnn", lr=4e-3),
        Recipe("fcn_gap", lr=4e-3),
        Recipe("lenet5", optimizer="adamw", lr=4e-3, weight_decay=0.1),
    ),
    "fashion-mnist": (
        Recipe("keras_cnn", lr=4e-3),
        Recipe("fcn_gap", lr=4e-3),
        Recipe("lenet5", optimizer="adamw", lr=4e-3, weight_decay=0.1),
    ),
    "cifar10": (
        Recipe("resnet20", epochs=30, optimizer="momentum", lr=0.2, weight_decay=5e-4),
        Recipe("keras_cnn", epochs=20, lr=3e-3),
    ),
}

# Optimisers, with the learning rate to begin with where no recipe gives one.
OPTIMIZERS: dict[str, tuple[Callable[..., optim.Optimizer], float, float]] = {
    "sgd": (optim.SGD, 0.1, 0.0),
    "momentum": (functools.partial(optim.SGD, momentum=0.9), 0.05, 0.0),
    "adam": (optim.Adam, 1e-3, 0.0),
    "adamw": (optim.AdamW, 1e-3, 1e-2),
}
SCHEDULES = ("constant", "step", "cosine", "one-cycle")


def recipe_for(data: str, model: str | None, optimizer: str | None) -> dict[str, Any]:
    """The settings for a data set, a model (None: the data set's own) and an optimiser (None: the recipe's), by option."""
    known = RECIPES[data]
    recipe = next((r for r in known if r.model == model), known[0])
    settings = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    if model is not None and model != recipe.model:  # no recipe: Adam, which is hard to get wrong
        settings.update(model=model, optimizer="adam", lr=OPTIMIZERS["adam"][1], weight_decay=OPTIMIZERS["adam"][2])
    if optimizer is not None and optimizer != settings["optimizer"]:
        _, lr, weight_decay = OPTIMIZERS[optimizer]
        settings.update(optimizer=optimizer, lr=lr, weight_decay=weight_decay)
    return settings


def make_optimizer(model: Module, settings: dict[str, Any]) -> optim.Optimizer:
    """The optimiser that the settings name."""
    return OPTIMIZERS[settings["optimizer"]][0](model.parameters(), lr=settings["lr"], weight_decay=settings["weight_decay"])


def make_schedule(optimizer: optim.Optimizer, settings: dict[str, Any], steps: int) -> optim.lr_scheduler.LRScheduler:
    """The schedule that the settings name, in steps of a batch, `steps` of them an epoch.

        constant    the learning rate as it is
        step        a tenth of it after half of the epochs, a hundredth after three quarters (He et al., 2016)
        cosine      down to 0 in half a wave (Loshchilov and Hutter, 2017)
        one-cycle   up to it in `warmup` epochs (3/10 of all by default), then down to nearly 0 (Smith and Topin, 2018)

    The first three begin with `warmup` epochs in which it rises from 0 in a straight line.
    """
    total, warm = settings["epochs"] * steps, round(settings["warmup"] * steps)
    if warm >= total:
        raise ValueError(f"train: a warm-up of {settings['warmup']:g} epochs leaves none of {settings['epochs']}")
    if settings["schedule"] == "one-cycle":
        momentum = settings["optimizer"] != "sgd"
        return optim.lr_scheduler.OneCycleLR(optimizer, settings["lr"], total, pct_start=warm / total or 0.3, cycle_momentum=momentum)
    shape = {
        "constant": lambda part: 1.0,
        "step": lambda part: 0.1 ** ((part >= 0.5) + (part >= 0.75)),
        "cosine": lambda part: (1 + math.cos(math.pi * part)) / 2,
    }[settings["schedule"]]
    return optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / warm if step < warm else shape((step - warm) / (total - warm)))


def make_loss(settings: dict[str, Any]) -> Callable[..., Any]:
    """Cross entropy, smoothed as the settings say."""
    smoothing = settings["label_smoothing"]
    return functools.partial(F.cross_entropy, label_smoothing=smoothing) if smoothing else F.cross_entropy
