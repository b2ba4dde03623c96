"""`convkit evaluate`: the accuracy of trained weights on a data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import common

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Mean and standard deviation that published weights want, by data set and model, where they are not the data set's own.
STATISTICS = {("cifar10", f"resnet{depth}"): IMAGENET for depth in (20, 32, 44, 56)}  # Y. Idelbayev's, trained on "RGB / 255"


def add(commands: Any) -> None:
    """Adds the parser."""
    parser = commands.add_parser(
        "evaluate",
        help="accuracy of trained weights on a data set",
        description="Accuracy of a checkpoint, or of a model with weights from an .npz or .safetensors file.  Weights that are no checkpoint of "
        "convkit do not say how their images are to be normalised: for the published ResNets it is in a table, for others give --mean and --std.",
    )
    parser.add_argument("checkpoint", nargs="?", metavar="CHECKPOINT", help="a checkpoint, or the --out folder of a run")
    parser.add_argument("--model", type=common.model_name, metavar="NAME", help="the model that --weights are for")
    parser.add_argument("--weights", metavar="FILE", help=".npz or .safetensors, with the names of the model's state_dict")
    parser.add_argument("--data", type=common.data_name, metavar="NAME", help="the data set (that of the checkpoint)")
    parser.add_argument("--data-dir", metavar="DIR", help="folder with its files")
    parser.add_argument("--split", choices=("train", "test"), default="test")
    parser.add_argument("--lossless", action="store_true", help="the 4,000 lossless training images of cifar10")
    parser.add_argument("--mean", type=common.numbers, metavar="A,B,C", help="of the images, in [0, 1]: one number, or one a channel")
    parser.add_argument("--std", type=common.numbers, metavar="A,B,C")
    parser.add_argument("--batch-size", type=common.number(int, 1), default=256, metavar="N")
    common.add_machine(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints the accuracy."""
    from convkit import data, train

    if (args.checkpoint is None) == (args.weights is None):
        raise ValueError("evaluate: give either a checkpoint, or --model and --weights")
    if (args.mean is None) != (args.std is None):
        raise ValueError("evaluate: give --mean and --std together")
    device = common.use_machine(args)
    checkpoint = None if args.checkpoint is None else train.load_checkpoint(args.checkpoint)
    name = args.data or (None if checkpoint is None else checkpoint.about.get("images", {}).get("data"))
    if name is None:
        raise ValueError("evaluate: which data set? give --data")
    if args.lossless and name != "cifar10":
        raise ValueError(f"evaluate: --lossless is for cifar10, not for {name}")
    if args.lossless and args.data_dir is None:
        raise ValueError("evaluate: --lossless needs --data-dir, the folder with the PNG files")
    dataset = data.cifar10_lossless(args.data_dir) if args.lossless else data.load(name, args.data_dir, args.split)

    if checkpoint is not None:
        model = common.restored(checkpoint)
        wanted: Any = checkpoint.about["images"]
        statistics = wanted["mean"], wanted["std"]
        if wanted["classes"] != dataset.classes:
            raise ValueError(f"evaluate: {checkpoint.path} tells the classes of {wanted['data']} apart, not those of {name}")
    else:
        if args.model is None:
            raise ValueError("evaluate: --weights need --model")
        model = common.make_model(common.describe_model(args.model, dataset)).eval()
        load_weights(model, args.model, Path(args.weights).expanduser())
        statistics = STATISTICS.get((name, args.model), (dataset.mean, dataset.std))
    if args.mean is not None:
        statistics = args.mean, args.std
    common.normalise_as(dataset, *statistics)
    try:
        found = train.evaluate(model.to(device), dataset, args.batch_size)
    except ValueError as error:
        trained = None if checkpoint is None else (checkpoint.about["model"]["in_channels"], *checkpoint.about["model"]["image_size"])
        if trained in (None, dataset.image_shape):
            raise
        told, given = ("x".join(map(str, shape)) for shape in (trained, dataset.image_shape))
        raise ValueError(f"evaluate: {args.checkpoint} was trained on images {told}, those of {name} are {given}\n{error}") from error
    mean, std = (",".join(f"{value:g}" for value in values) for values in statistics)
    print(f"{len(dataset)} images of {dataset.source or name}, mean {mean}, std {std}")
    print(f"loss {found.loss:.4f}")
    print(f"accuracy {found.accuracy:.4f}")
    return 0


def load_weights(model: Any, name: str, path: Path) -> None:
    """Loads an .npz or .safetensors file into a model; ValueError for another or a damaged file, RuntimeError for another model."""
    from convkit.train.checkpoint import read_safetensors

    if path.suffix == ".safetensors":
        weights = read_safetensors(path)
    elif path.suffix == ".npz":
        weights = _read_npz(path)
    else:
        raise ValueError(f"evaluate: {path} should be an .npz or .safetensors file")
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise RuntimeError(f"evaluate: {path} does not hold the weights of {name.replace('_', '-')}\n{error}") from error


def _read_npz(path: Path) -> dict[str, Any]:
    import zipfile
    import zlib

    import numpy as np

    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise ValueError("it is no zip archive")
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (EOFError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"evaluate: {path} is not a whole .npz file ({error})") from error
