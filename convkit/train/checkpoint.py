"""Checkpoints: a run's whole state in a folder of files that anybody can read.  No pickle: a checkpoint cannot run code.

    model.safetensors       weights and buffers, by the names of `state_dict()`
    optimizer.safetensors   the optimiser's arrays ("0/exp_avg": of parameter 0)
    callbacks.safetensors   the callbacks' arrays, where they have any
    checkpoint.json         everything else: see `Checkpoint`

The folder is replaced whole: a full disk, Ctrl-C or a crash leaves the checkpoint before it as it was.
"""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .. import device
from ..files import previous_of, replace_folder
from ..nn import Module
from ..optim import Optimizer
from ..random import default_generator
from ..tensor import Tensor
from .history import History

FORMAT, VERSION = "convkit checkpoint", 1
MODEL, OPTIMIZER, CALLBACKS, REST = "model.safetensors", "optimizer.safetensors", "callbacks.safetensors", "checkpoint.json"
FOLDER = "checkpoint"  # the name of the checkpoint in a run's folder
ARRAY = "__array__"  # {ARRAY: key} in the JSON file stands for an array in a safetensors file


@dataclass
class Checkpoint:
    """What `load_checkpoint` reads.

    Attributes:
        path: the folder.
        model: the class of the model.
        weights: weights and buffers by name.
        optimizer, scheduler: {"class": ..., "state": ...} or None; callbacks: a list of these.
        generator: state of the default generator, which dropout draws from.
        loader: what the order of the batches depends on: seed, batch size, number of items ...
        epoch: epochs done.
        batch: batches done of the next one, and
        partial: what they summed up to.
        stopped: a callback ended the run.
        history: of the epochs done.
        about: what the caller of `fit` wished to keep: the command line keeps the model's name and arguments there.
        versions: of convkit, Python, NumPy and the platform that wrote it.
    """

    path: Path
    model: str
    weights: dict[str, np.ndarray]
    optimizer: dict[str, Any] | None = None
    scheduler: dict[str, Any] | None = None
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    generator: dict[str, Any] = field(default_factory=dict)
    loader: dict[str, Any] = field(default_factory=dict)
    epoch: int = 0
    batch: int = 0
    partial: dict[str, Any] = field(default_factory=dict)
    stopped: bool = False
    history: History = field(default_factory=History)
    about: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)

    def restore(self, model: Module, optimizer: Optimizer | None = None, scheduler: Any = None, callbacks: Sequence[Any] = ()) -> None:
        """Puts the state into a model, and into the others and the default generator if there is an optimizer.

        Raises:
            RuntimeError: another model, naming every weight that differs.
            ValueError: another optimiser, scheduler or list of callbacks.
        """
        parts: list[tuple[str, Any, dict[str, Any] | None]] = []
        if optimizer is not None:
            if len(callbacks) != len(self.callbacks):
                raise ValueError(f"checkpoint: {self.path} was saved with {len(self.callbacks)} callbacks, this run has {len(callbacks)}")
            parts += [("optimizer", optimizer, self.optimizer), ("scheduler", scheduler, self.scheduler)]
            parts += [("callback", own, saved) for own, saved in zip(callbacks, self.callbacks, strict=True)]
        for kind, own, saved in parts:
            have, kept = "none" if own is None else type(own).__name__, "none" if saved is None else saved["class"]
            if have != kept:
                raise ValueError(f"checkpoint: {self.path} was saved with {kind} {kept}, this run has {have}")
        try:
            model.load_state_dict(self.weights)
        except RuntimeError as error:
            raise RuntimeError(f"checkpoint: {self.path}, of a {self.model}, does not fit this {type(model).__name__}\n{error}") from error
        for _, own, saved in parts:
            if saved is not None:
                own.load_state_dict(saved["state"])
        if optimizer is not None:
            default_generator.set_state(self.generator)


def save_checkpoint(
    path: str | os.PathLike[str], model: Module, optimizer: Optimizer | None = None, scheduler: Any = None, callbacks: Sequence[Any] = (), **more: Any
) -> Path:
    """Saves a checkpoint in the folder `path`, in place of one that is there; gives the path.

    `more` are further attributes of `Checkpoint`: epoch, batch, partial, stopped, loader, history, about.  The state of the default
    generator is saved too.

    Raises:
        OSError: it could not be written, for example because the disk is full; an earlier checkpoint is unharmed.
        ValueError: `path` is a folder with something else in it.
        TypeError: a state that is neither numbers, texts nor arrays.

    >>> import tempfile
    >>> from convkit import nn
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save_checkpoint(folder + "/first", nn.Linear(2, 1), epoch=3)
    ...     load_checkpoint(path).epoch
    3
    """
    folder = Path(path).expanduser().absolute()
    _refuse_strangers(folder)
    safetensors = needs_safetensors()
    arrays: dict[str, dict[str, np.ndarray]] = {MODEL: {}, OPTIMIZER: {}, CALLBACKS: {}}
    for name, tensor in model.state_dict().items():
        arrays[MODEL][name] = _on_host(tensor)
    rest: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "versions": versions(),
        "model": type(model).__name__,
        "optimizer": _state(optimizer, "", arrays[OPTIMIZER]),
        "scheduler": _state(scheduler, "scheduler/", arrays[OPTIMIZER]),
        "callbacks": [_state(callback, f"{i}/", arrays[CALLBACKS]) for i, callback in enumerate(callbacks)],
        "generator": default_generator.get_state(),
        **{key: _pack(value, f"{key}/", {}) for key, value in more.items()},
    }
    unknown = set(more) - set(Checkpoint.__dataclass_fields__)
    if unknown:
        raise TypeError(f"save_checkpoint: no attribute is called {', '.join(sorted(unknown))}")
    files = {name: safetensors.save(content) for name, content in arrays.items() if content or name == MODEL}
    replace_folder(folder, {**files, REST: (json.dumps(rest, indent=1) + "\n").encode()})
    return Path(path)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Reads the checkpoint in the folder `path`, in a run's folder, or beside one of a checkpoint's files.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a damaged file, or a checkpoint of a later version of convkit.
    """
    folder = find_checkpoint(path)
    try:
        rest = json.loads((folder / REST).read_text(encoding="utf-8"))
    except ValueError as error:
        raise _damaged(folder / REST, error) from error
    if not isinstance(rest, dict) or rest.pop("format", None) != FORMAT:
        raise ValueError(f"checkpoint: {folder / REST} is not a checkpoint of convkit")
    version = rest.pop("version", None)
    if version != VERSION:
        raise ValueError(f"checkpoint: {folder} has format version {version}, this convkit reads version {VERSION}; use the convkit that wrote it")
    arrays = {name: read_safetensors(folder / name) for name in (MODEL, OPTIMIZER, CALLBACKS) if name == MODEL or (folder / name).exists()}
    try:
        for key, file in (("optimizer", OPTIMIZER), ("scheduler", OPTIMIZER), ("callbacks", CALLBACKS)):
            rest[key] = _unpack(rest[key], arrays.get(file, {}))
        rest["history"] = History(rest.get("history", []))
        return Checkpoint(path=folder, weights=arrays[MODEL], **rest)
    except (KeyError, TypeError) as error:
        raise _damaged(folder / REST, error) from error


def find_checkpoint(path: str | os.PathLike[str]) -> Path:
    """The folder of the checkpoint that `path` stands for; FileNotFoundError, saying what was looked for, if there is none."""
    given = Path(path).expanduser()
    if given.is_file() and (given.name == REST or given.suffix == ".safetensors"):
        given = given.parent
    for folder in (given, given / FOLDER):
        for candidate in (folder, previous_of(folder)):
            if (candidate / REST).is_file():
                return candidate
    why = "has no checkpoint.json" if given.is_dir() else "is not a folder" if given.exists() else "does not exist"
    raise FileNotFoundError(f"checkpoint: {given} {why}; give the folder that holds {REST} or the --out folder of a run")


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name; ValueError where it is damaged."""
    safetensors = needs_safetensors()
    content = path.read_bytes()
    try:
        return dict(sorted(safetensors.load(content).items()))  # which come in another order in every process
    except Exception as error:  # SafetensorError, or KeyError for a dtype that NumPy lacks
        raise _damaged(path, error) from error


def needs_safetensors() -> ModuleType:
    """The module safetensors.numpy; RuntimeError saying how to install it where it is missing."""
    try:
        import safetensors.numpy
    except ImportError as error:
        raise RuntimeError("checkpoint: reading and writing weights needs safetensors (pip install 'convkit[train]')") from error
    return safetensors.numpy


def versions() -> dict[str, str]:
    """What a run's bits may depend on."""
    import numba

    import convkit

    return {
        "convkit": convkit.__version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": numba.__version__,
        "platform": platform.platform(),
    }


# ------------------------------------------------------------------------- states as JSON and arrays
def _state(thing: Any, prefix: str, arrays: dict[str, np.ndarray]) -> dict[str, Any] | None:
    return None if thing is None else {"class": type(thing).__name__, "state": _pack(thing.state_dict(), prefix, arrays)}


def _pack(value: Any, prefix: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` as JSON knows it, with its arrays moved to `arrays` under names that begin with `prefix`."""
    if isinstance(value, Tensor | np.ndarray):
        key = prefix.removesuffix("/").removeprefix("state/")
        arrays[key] = _on_host(value)
        return {ARRAY: key}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(k): _pack(v, f"{prefix}{k}/", arrays) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_pack(v, f"{prefix}{i}/", arrays) for i, v in enumerate(value)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"checkpoint: {prefix.removesuffix('/')} is a {type(value).__name__}; only numbers, texts and arrays can be saved")


def _on_host(value: Any) -> np.ndarray:
    return np.asarray(device.move(value.array if isinstance(value, Tensor) else value, "cpu"), order="C")


def _unpack(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        return arrays[value[ARRAY]] if set(value) == {ARRAY} else {k: _unpack(v, arrays) for k, v in value.items()}
    return [_unpack(v, arrays) for v in value] if isinstance(value, list) else value


def _refuse_strangers(folder: Path) -> None:
    """Replacing a folder must never delete anything but a checkpoint."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise NotADirectoryError(f"checkpoint: {folder} is a file; a checkpoint is a folder")
    strangers = sorted({entry.name for entry in folder.iterdir()} - {MODEL, OPTIMIZER, CALLBACKS, REST})
    if strangers:
        raise ValueError(f"checkpoint: {folder} holds other things ({', '.join(strangers[:3])}); a checkpoint needs a folder of its own")


def _damaged(path: Path, error: Exception) -> ValueError:
    return ValueError(f"checkpoint: {path} is damaged ({type(error).__name__}: {error})")
