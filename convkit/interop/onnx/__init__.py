"""ONNX: models of other programs as modules here, and modules of ours as ONNX files.

`load` reads a model and gives a trainable `nn.Module`; `export` writes one.  Both need the package onnx: `pip install 'convkit[onnx]'`.
"""

from .exporting import export
from .graph import Graph, load
from .node import UnsupportedError
from .operators import supported

__all__ = ["Graph", "UnsupportedError", "export", "load", "supported"]
