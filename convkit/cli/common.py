"""What several commands share: options, models by name, data sets with the statistics of their model."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .. import data, models
from ..nn import Module
from ..train.checkpoint import Checkpoint


def number(kind: Callable[[str], Any], least: float, most: float = float("inf"), above: bool = False) -> Callable[[str], Any]:
    """An argparse type: an int or a float from `least` (or above it) to `most`."""

    def read(text: str) -> Any:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"needs {'an integer' if kind is int else 'a number'}, got {text!r}") from None
        if value == float("inf"):
            raise argparse.ArgumentTypeError(f"must be finite, got {text}")
        if not (least < value if above else least <= value) or not value <= most:
            limit = f"above {least:g}" if above else f"{least:g} or larger"
            raise argparse.ArgumentTypeError(f"must be {limit}{'' if most == float('inf') else f' and at most {most:g}'}, got {text}")
        return value

    return read


def numbers(text: str) -> tuple[float, ...]:
    """An argparse type: numbers between commas."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"needs numbers between commas, got {text!r}") from None
    if not all(map(math.isfinite, values)):
        raise argparse.ArgumentTypeError(f"needs finite numbers, got {text!r}")
    return values


def model_name(text: str) -> str:
    """An argparse type: the name of a model; capitals and '-' for '_' do not matter."""
    name = text.lower().replace("-", "_")
    if name not in models.names():
        raise argparse.ArgumentTypeError(f"no model is called {text!r}; there are {', '.join(n.replace('_', '-') for n in models.names())}")
    return name


def data_name(text: str) -> str:
    """An argparse type: the name of a data set."""
    name = text.lower().replace("_", "-")
    if name not in data.NAMES:
        raise argparse.ArgumentTypeError(f"no data set is called {text!r}; there are {', '.join(data.NAMES)}")
    return name


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Options --threads and --device."""
    parser.add_argument("--threads", type=number(int, 1), metavar="N", help="CPU threads (all cores); results do not depend on it")
    parser.add_argument(
        "--device",
        default="auto",
        help="cpu, cuda, cuda:sim (a GPU simulated, for looking at its kernels), or auto (the default): the GPU if there is one",
    )


def use_machine(args: argparse.Namespace) -> str:
    """Applies --threads and checks --device; gives the device's name."""
    import convkit
    from convkit import device

    if args.threads is not None:
        convkit.set_num_threads(args.threads)
    return device.check(args.device)


def describe_model(name: str, dataset: data.ImageDataset) -> dict[str, Any]:
    """What a checkpoint says of its model and of the images it wants: enough to make it again and to feed it."""
    channels, height, width = dataset.image_shape
    return {
        "model": {"name": name, "in_channels": channels, "image_size": [height, width], "classes": len(dataset.classes)},
        "images": {"data": dataset.name, "mean": list(dataset.mean), "std": list(dataset.std), "classes": list(dataset.classes)},
    }


def make_model(about: dict[str, Any]) -> Module:
    """The model that `describe_model` described, with new weights."""
    described = about["model"]
    return models.create(
        described["name"], in_channels=described["in_channels"], image_size=tuple(described["image_size"]), classes=described["classes"]
    )


def restored(checkpoint: Checkpoint) -> Module:
    """The trained model of a checkpoint of `convkit train`, in evaluation mode; ValueError for any other checkpoint."""
    if not {"model", "images"} <= set(checkpoint.about):
        raise ValueError(f"checkpoint: {checkpoint.path} was not saved by `convkit train`; load it in Python with convkit.train.load_checkpoint")
    model = make_model(checkpoint.about)
    checkpoint.restore(model)
    return model.eval()


def normalise_as(dataset: data.ImageDataset, mean: Sequence[float], std: Sequence[float]) -> None:
    """Makes the data set feed images as a model wants them."""
    scale = dataset.transform.scale if isinstance(dataset.transform, data.Normalize) else 255.0
    dataset.mean, dataset.std = tuple(mean), tuple(std)
    dataset.transform = data.Normalize(mean, std, scale)


def parameters(model: Module) -> int:
    """Number of learnt numbers."""
    return sum(p.numel() for p in model.parameters())


def short(path: Path) -> str:
    """A path as the user would type it: relative where that is possible without '..'."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
