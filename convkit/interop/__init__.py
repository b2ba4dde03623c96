"""Exchange with other programs: state dictionaries as safetensors files."""

from .safetensors import load, save

__all__ = ["load", "save"]
