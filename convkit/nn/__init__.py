"""Layers and the tools around them: torch's names, arguments, shapes and numbers.

- `Module`, `Parameter`: what a net is made of; `Sequential`, `ModuleList`, `ModuleDict` hold modules, `ParameterList` and `ParameterDict` parameters.
- Layers, as in `nn.layers`; the same operations as functions in `nn.functional`; initial values in `nn.init`; clipping and more in `nn.utils`.
- `net.summary(input_size)`: layers, shapes, activations and parameters in a table.
"""

from . import functional, init, utils
from .container import ModuleDict, ModuleList, ParameterDict, ParameterList, Sequential
from .layers import *  # noqa: F403
from .layers import __all__ as _layers
from .module import Module
from .parameter import Parameter
from .summary import Summary, summarize

__all__ = [
    "Module",
    "ModuleDict",
    "ModuleList",
    "Parameter",
    "ParameterDict",
    "ParameterList",
    "Sequential",
    "Summary",
    "functional",
    "init",
    "summarize",
    "utils",
    *_layers,
]
