"""`convkit train` and `convkit demo`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from . import common, recipes

# Options that do not change what a run computes: a resumed run may have others.
FREE = ("data_dir", "threads", "device", "out", "quiet", "resume")
FIXED = ("data", "model", "epochs", "batch_size", "optimizer", "lr", "weight_decay", "schedule", "warmup", "label_smoothing", "validation", "seed")

DESCRIPTION = """Train a net on a data set.  What is not given comes from a table of recipes, by data set and model.
Prints a line for each epoch, and the accuracy on the test images, which nothing else uses, at the end.
Ctrl-C saves a checkpoint; --resume goes on from it, to the same weights, bit for bit."""


def add(commands: Any) -> None:
    """Adds the parsers."""
    parser = commands.add_parser("train", help="train a net on a data set", description=DESCRIPTION)
    number = common.number
    parser.add_argument("--data", type=common.data_name, metavar="NAME", help="digits, mnist, fashion-mnist or cifar10 (digits)")
    parser.add_argument("--data-dir", metavar="DIR", help="folder with the data set's files; without it they are downloaded")
    parser.add_argument("--model", type=common.model_name, metavar="NAME", help="lenet5, keras-cnn, fcn-gap, digits-cnn, resnet20 ...")
    parser.add_argument("--epochs", type=number(int, 1), metavar="N", help="passes over the training images")
    parser.add_argument("--batch-size", type=number(int, 1), metavar="N", help="images in a batch")
    parser.add_argument("--optimizer", choices=sorted(recipes.OPTIMIZERS), help="sgd is without momentum, momentum is SGD with 0.9")
    parser.add_argument("--lr", type=number(float, 0, above=True), metavar="X", help="the largest learning rate of the schedule")
    parser.add_argument("--weight-decay", type=number(float, 0), metavar="X")
    parser.add_argument("--schedule", choices=recipes.SCHEDULES, help="of the learning rate, batch by batch")
    parser.add_argument("--warmup", type=number(float, 0), metavar="E", help="epochs in which the learning rate rises")
    parser.add_argument("--label-smoothing", type=number(float, 0, 1), metavar="X")
    parser.add_argument(
        "--validation", type=number(float, 0), metavar="X", help="part of the training images held out to watch, as a fraction or a count from 1 on"
    )
    parser.add_argument("--seed", type=number(int, 0), metavar="N", help="of the weights, the order of the images, and dropout (0)")
    parser.add_argument("--out", metavar="DIR", help="folder for the checkpoint, history.json and curves.png (runs/DATA-MODEL)")
    parser.add_argument("--resume", metavar="CHECKPOINT", help="go on from a checkpoint, or from the --out folder of a run, with its options")
    parser.add_argument("--quiet", action="store_true", help="print the last line only")
    common.add_machine(parser)
    parser.set_defaults(run=run)

    demo = commands.add_parser(
        "demo", help="train a net on the digits that come with convkit, in less than a minute", description="Same as: convkit train --data digits"
    )
    demo.add_argument("--out", metavar="DIR", default="runs/demo", help="folder for the results (runs/demo)")
    demo.add_argument("--seed", type=number(int, 0), metavar="N", default=0)
    common.add_machine(demo)
    demo.set_defaults(run=run, resume=None, data_dir=None, quiet=False, **{key: None for key in FIXED if key != "seed"})


def run(args: argparse.Namespace) -> int:
    """Trains, and prints the test accuracy."""
    import convkit
    from convkit import data, train

    checkpoint = None if args.resume is None else train.load_checkpoint(args.resume)
    settings = _settings(args, checkpoint)
    device = common.use_machine(args)
    say = (lambda *_: None) if args.quiet else print

    whole = data.load(settings["data"], settings["data_dir"], "train")
    test = data.load(settings["data"], settings["data_dir"], "test")
    training, validation = _held_out(whole, settings["validation"], settings["seed"])
    convkit.manual_seed(settings["seed"])
    about = {**common.describe_model(settings["model"], whole), "options": settings}
    model = common.make_model(about).to(device)
    loader = data.DataLoader(training, batch_size=settings["batch_size"], shuffle=True, seed=settings["seed"])
    optimizer = recipes.make_optimizer(model, settings)
    shape = "x".join(map(str, whole.image_shape))
    say(f"{whole.name}: {len(training)} training, {0 if validation is None else len(validation)} validation, {len(test)} test images {shape}")
    say(f"{settings['model'].replace('_', '-')}: {common.parameters(model):,} parameters; {_summary(settings)}; {convkit.get_num_threads()} threads")

    out = Path(settings["out"])
    try:
        history = train.fit(
            model, loader,
            epochs=settings["epochs"], optimizer=optimizer, scheduler=recipes.make_schedule(optimizer, settings, len(loader)), schedule_each="batch",
            loss=recipes.make_loss(settings), validation=validation, out=out, resume=checkpoint, about=about, progress=not args.quiet,
        )  # fmt: skip
    except train.Interrupted as stop:
        raise KeyboardInterrupt(f"{stop}\nconvkit: to go on: convkit train --resume {common.short(out)}") from stop
    compiled = train.loop.compile_seconds()
    if compiled >= 1:
        say(f"{compiled:.0f} s of this went into compiling kernels, which the next run finds ready")
    say(f"saved {', '.join(_save(history, settings, out))} in {common.short(out)}")
    # In batches of the training's size, for which the kernels are compiled.
    print(f"test accuracy {train.evaluate(model, test, settings['batch_size']).accuracy:.4f}")
    return 0


def _settings(args: argparse.Namespace, checkpoint: Any) -> dict[str, Any]:
    """All options, from the command line, the checkpoint to resume, and the recipes."""
    given = {key: getattr(args, key) for key in (*FIXED, "data_dir", "out") if getattr(args, key) is not None}
    if checkpoint is None:
        data = given.get("data", "digits")
        settings = {"data": data, "data_dir": None, "seed": 0, **recipes.recipe_for(data, args.model, args.optimizer), **given}
        settings.setdefault("out", str(Path("runs") / f"{data}-{settings['model'].replace('_', '-')}"))
        return settings
    if "options" not in checkpoint.about:
        raise ValueError(f"train: {checkpoint.path} was not saved by `convkit train`; resume it with convkit.train.fit in Python")
    saved = checkpoint.about["options"]
    longer = saved["schedule"] == "constant" and given.get("epochs", 0) >= saved["epochs"]  # no schedule that the epochs change
    other = [key for key in FIXED if key in given and given[key] != saved[key] and not (key == "epochs" and longer)]
    if other:
        wrong = ", ".join(f"--{key.replace('_', '-')} {given[key]} (was {saved[key]})" for key in other)
        raise ValueError(f"train: a resumed run keeps its options, it cannot have {wrong}; start a new run for other options")
    return {**saved, "out": str(checkpoint.path.parent), **given}


def _held_out(whole: Any, validation: float, seed: int) -> tuple[Any, Any]:
    """The training images, and those held out of them (None if there are none)."""
    from convkit.data import random_split

    held = round(validation * len(whole)) if validation < 1 else round(validation)
    if held >= len(whole):
        raise ValueError(f"train: --validation {validation:g} leaves none of {len(whole)} training images")
    if not held:
        return whole, None
    training, validation_part = random_split(whole, [len(whole) - held, held], seed=seed)
    return training, validation_part


def _summary(s: dict[str, Any]) -> str:
    more = [f"{key.replace('_', ' ')} {s[key]:g}" for key in ("weight_decay", "warmup", "label_smoothing") if s[key]]
    return ", ".join([f"{s['epochs']} epochs", f"batches of {s['batch_size']}", f"{s['optimizer']} {s['lr']:g}", s["schedule"], *more])


def _save(history: Any, settings: dict[str, Any], out: Path) -> list[str]:
    """Draws the curves where matplotlib is there; gives the names of what was saved."""
    from convkit.train import plot_history

    names = ["checkpoint", "history.json"]
    try:
        plot_history(history, out / "curves.png", f"{settings['model'].replace('_', '-')} on {settings['data']}")
    except RuntimeError as error:  # no matplotlib
        return [*names, f"but no curves ({error})"]
    return [*names, "curves.png"]
