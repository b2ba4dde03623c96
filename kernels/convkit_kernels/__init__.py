"""Kernels of convkit: arrays in, arrays out, no tensors and no gradient graph.

`geometry` and `layout` are shared; `cpu` holds the Numba and LLVM kernels.  A backend is a module
of public functions; `convkit.device` is the only place that picks one.
"""
