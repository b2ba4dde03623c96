"""`DataLoader`: batches of a data set in a reproducible order, prepared ahead by one thread."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from operator import index as as_int
from queue import SimpleQueue
from typing import Any

import numpy as np

from convkit.data.dataset import Array, fetch, permutation


class DataLoader:
    """The batches of a data set: `for images, labels in loader` yields tuples of tensors.

    An epoch has ceil(N / batch_size) batches, or floor(N / batch_size) with `drop_last`.  Its order depends on
    (seed, epoch) alone: not on the machine, the number of threads or the version of NumPy.  Every `iter(loader)`
    moves on to the next epoch, starting with 0; `set_epoch` says which one is next.

    Args:
        dataset: anything with `len(d)` and `d[i]`; its `get_batch(indices)` is used where there is one.
        batch_size: items in a batch, 1 or more; the last batch of an epoch may be smaller.
        shuffle: draw a new order for each epoch.
        drop_last: leave out a last batch that is smaller than batch_size.
        seed: of the shuffling, 0 or larger.
        prefetch: batches that one background thread prepares ahead, while the caller computes.  0: no thread.
        collate_fn: called with the list of a batch's items; what it gives is yielded, with its arrays (also those in
            tuples, lists and dictionaries) turned into tensors.  Default: stack every field.

    Raises:
        ValueError: batch_size < 1, or a negative prefetch or seed.
        TypeError: a data set without `len(d)` and `d[i]`.
        An exception in the data set is raised where its batch would have come, with its own traceback.

    >>> from convkit.data import digits
    >>> loader = DataLoader(digits("train"), batch_size=100, shuffle=True)
    >>> len(loader), loader.order(epoch=0)[:4]
    (15, array([ 855,  921,  269, 1185]))
    >>> images, labels = next(iter(loader))
    >>> tuple(images.shape), tuple(labels.shape)
    ((100, 1, 8, 8), (100,))
    """

    def __init__(
        self,
        dataset: Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        seed: int = 0,
        prefetch: int = 2,
        collate_fn: Callable[[list[Any]], Any] | None = None,
    ) -> None:
        if not hasattr(dataset, "__len__") or not hasattr(dataset, "__getitem__"):
            raise TypeError(f"DataLoader: a data set needs __len__ and __getitem__, {type(dataset).__name__} has not")
        self.dataset = dataset
        self.batch_size = _at_least("batch_size", batch_size, 1)
        self.shuffle = shuffle
        self.drop_last = drop_last
        self.seed = _at_least("seed", seed, 0)
        self.prefetch = _at_least("prefetch", prefetch, 0)
        self.collate_fn = collate_fn
        self.epoch = 0

    def __len__(self) -> int:
        """Batches in an epoch."""
        whole, rest = divmod(len(self.dataset), self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def set_epoch(self, epoch: int) -> None:
        """Says which epoch the next `iter(loader)` gives, 0 or larger."""
        self.epoch = _at_least("epoch", epoch, 0)

    def __iter__(self) -> Iterator[Any]:
        epoch = self.epoch
        self.epoch += 1
        return self.iterate(epoch)

    def iterate(self, epoch: int, start_batch: int = 0) -> Generator[Any]:
        """The batches of an epoch from number `start_batch` on, the same bits as in a run from its beginning.

        A checkpoint in the middle of an epoch needs (epoch, batches done), nothing else.  Leaves `loader.epoch` alone.

        Raises:
            ValueError: start_batch outside 0 to len(loader), or a negative epoch.

        >>> from convkit.data import ArrayDataset
        >>> loader = DataLoader(ArrayDataset(np.arange(10)), batch_size=4)
        >>> [labels.numpy().tolist() for (labels,) in loader.iterate(epoch=0, start_batch=1)]
        [[4, 5, 6, 7], [8, 9]]
        """
        batches = len(self)
        if _at_least("start_batch", start_batch, 0) > batches:
            raise ValueError(f"DataLoader: start_batch is {start_batch} but an epoch has {batches} batches")
        order, size = self.order(epoch), self.batch_size
        pieces = [order[b * size : (b + 1) * size] for b in range(start_batch, batches)]
        return self._run(pieces)

    def order(self, epoch: int) -> Array:
        """The indices of all items [N] in the order of an epoch, before they are cut into batches."""
        _at_least("epoch", epoch, 0)
        n = len(self.dataset)
        return permutation(n, self.seed, epoch) if self.shuffle else np.arange(n)

    def _run(self, pieces: Sequence[Array]) -> Generator[Any]:
        made: Generator[Any]
        if self.prefetch:
            made = _ahead(self._make, pieces, self.prefetch)
        else:
            made = (self._make(piece) for piece in pieces)
        with closing(made):  # ends the thread at once when the caller leaves the loop early
            for batch in made:
                yield _to_tensors(batch)

    def _make(self, indices: Array) -> Any:
        """One batch, NumPy arrays still; runs in the background thread."""
        if self.collate_fn is None:
            return fetch(self.dataset, indices)
        return self.collate_fn([self.dataset[i] for i in indices.tolist()])


def _ahead(make: Callable[[Array], Any], pieces: Sequence[Array], depth: int) -> Generator[Any]:
    """make(piece) for every piece, in order, made by a thread that is never more than `depth` batches ahead.

    Two SimpleQueues and a flag, not a Queue with a size: the garbage collector may close this generator from any
    thread at any point, and only SimpleQueue.put is safe there (a Queue's lock might be held by that very thread).
    """
    ready: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
    slots: SimpleQueue[None] = SimpleQueue()  # one entry for each batch that may be made now
    closed = False

    def work() -> None:
        for piece in pieces:
            slots.get()
            if closed:
                return
            try:
                ready.put((make(piece), None))
            except BaseException as error:
                ready.put((None, error))
                return

    # A daemon, so that an iterator left half-way cannot keep the interpreter from ending; `close` at exit sees to it
    # that the thread is not cut off in the middle of a batch either.
    thread = threading.Thread(target=work, name="convkit-dataloader", daemon=True)

    def close() -> None:
        nonlocal closed
        closed = True
        slots.put(None)  # wakes the thread
        if threading.current_thread() is not thread:
            thread.join()

    for _ in range(depth):
        slots.put(None)
    thread.start()
    atexit.register(close)
    try:
        for _ in pieces:
            batch, error = ready.get()
            if error is not None:
                try:
                    raise error
                finally:
                    del error  # else the traceback, which holds this frame, would keep itself alive
            slots.put(None)
            yield batch
            del batch
    finally:
        close()
        atexit.unregister(close)


def _to_tensors(value: Any) -> Any:
    """`value` with every NumPy array in it made a tensor that shares its memory."""
    if isinstance(value, np.ndarray | np.generic):
        import convkit

        return convkit.from_numpy(np.asarray(value))
    if isinstance(value, dict):
        return {key: _to_tensors(v) for key, v in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):  # a named tuple
        return type(value)(*map(_to_tensors, value))
    if isinstance(value, tuple | list):
        return type(value)(map(_to_tensors, value))
    return value


def _at_least(name: str, value: int, least: int) -> int:
    try:
        number = as_int(value)
    except TypeError:
        raise TypeError(f"DataLoader: {name} must be an integer, got {type(value).__name__}") from None
    if number < least:
        raise ValueError(f"DataLoader: {name} must be {least} or larger, got {number}")
    return number
