"""The nets of versus.py, and the cases of it that no kernel benchmark has: seconds of one training step or inference, and memory."""

from convkit_kernels.cpu import runtime

from .common import THREADS, _Kernel, some, versus


def call(case, what, threads):
    """One of the calls that versus.py times for a case."""
    runtime.set_num_threads(threads)
    return next(call for name, call in versus.work("convkit", case) if name == what)


class Net(_Kernel):
    params = [some(versus.NETS), ["train", "infer"], THREADS]
    param_names = ["net", "what", "threads"]

    def prepare(self, net, what, threads):
        return call(net, what, threads)


class NetMemory:
    """The most memory that the process had, Python and compiled kernels included.  asv runs it after Net, which leaves nothing to compile."""

    params, param_names = Net.params, Net.param_names

    def setup(self, net, what, threads):
        self.call = call(net, what, threads)

    def peakmem_call(self, net, what, threads):
        self.call()
        self.call()


class Op(_Kernel):
    """Transposed convolutions and pools, as operations of tensors."""

    params = [some(versus.DECONVS) + some(versus.POOLS), ["fwd", "fwd+bwd"], THREADS]
    param_names = ["case", "what", "threads"]

    def prepare(self, case, what, threads):
        return call(case, what, threads)
