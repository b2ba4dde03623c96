"""`convkit predict`: what a trained net sees in image files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from . import common

BATCH = 64
DESCRIPTION = """Classify image files with a checkpoint of `convkit train`.  An image is turned upright as its EXIF data says, laid on
white where it is transparent, converted to grey or RGB, and resized (bilinear, without keeping its proportions) to the size that the net was trained
on.  MNIST, Fashion-MNIST and the digits are white on black: give --invert for dark ink on light paper."""


def add(commands: Any) -> None:
    """Adds the parser."""
    parser = commands.add_parser("predict", help="classify image files", description=DESCRIPTION)
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="a checkpoint, or the --out folder of a run")
    parser.add_argument("images", nargs="+", metavar="IMAGE", help="image files that pillow reads: PNG, JPEG ...")
    parser.add_argument("--invert", action="store_true", help="swap black and white")
    parser.add_argument("--top", type=common.number(int, 1), default=3, metavar="N", help="how many classes to name (3)")
    common.add_machine(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Prints a line for each image: the class, and the most probable ones."""
    import convkit
    from convkit import train
    from convkit.data import Normalize

    device = common.use_machine(args)
    checkpoint = train.load_checkpoint(args.checkpoint)
    model = common.restored(checkpoint).to(device)
    described, wanted = checkpoint.about["model"], checkpoint.about["images"]
    normalise = Normalize(wanted["mean"], wanted["std"])
    channels, size = described["in_channels"], tuple(described["image_size"])
    for first in range(0, len(args.images), BATCH):
        paths = args.images[first : first + BATCH]
        images = np.stack([read_image(Path(path), channels, size, args.invert) for path in paths])
        with convkit.no_grad():
            scores = model(convkit.from_numpy(normalise(images)).to(device)).softmax(1).cpu().numpy()
        for path, row in zip(paths, scores, strict=True):
            best = np.argsort(-row, kind="stable")[: args.top]
            names = [f"{wanted['classes'][i]} {row[i]:.3f}" for i in best]
            print(f"{path}: {wanted['classes'][best[0]]}  ({', '.join(names)})")
    return 0


def read_image(path: Path, channels: int, size: tuple[int, int], invert: bool = False) -> np.ndarray:
    """An image file as uint8 [channels, *size]: grey for 1 channel, RGB for 3.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no image that pillow reads, or the net wants another number of channels.
        RuntimeError: pillow is missing.
    """
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError as error:
        raise RuntimeError("predict: reading images needs pillow (pip install 'convkit[train]')") from error
    if channels not in (1, 3):
        raise ValueError(f"predict: reads grey and RGB images, but the net takes {channels} channels")
    try:
        with Image.open(path) as file:
            image: Any = ImageOps.exif_transpose(file)
            if image.mode.startswith("I") and np.asarray(image).max() > 255:  # 16 bits a pixel, which pillow would cut off at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            if image.has_transparency_data:
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
            image = image.convert("L" if channels == 1 else "RGB")
            if image.size != size[::-1]:
                image = image.resize(size[::-1], Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
    except (UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"predict: {path} is not an image that can be read ({error})") from error
    except OSError as error:
        if error.filename is not None or error.errno is not None:
            raise
        raise ValueError(f"predict: {path} is not a whole image ({error})") from error
    pixels = 255 - pixels if invert else pixels
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
