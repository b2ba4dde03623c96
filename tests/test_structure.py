"""What holds for the source as a whole: who imports whom, twins of every kernel, documentation, sizes."""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
CPU = ROOT / "kernels" / "convkit_kernels" / "cpu"
CUDA = CPU.parent / "cuda"
REFERENCE = ROOT / "tests" / "reference"
SOURCES = {p: "convkit" for p in sorted((ROOT / "convkit").rglob("*.py"))} | {
    p: "kernels/convkit_kernels" for p in sorted((ROOT / "kernels").rglob("*.py"))
}  # fmt: skip

# Imports run from later rows to earlier ones.  Parts of one row do not know each other, but for `PEERS`.
ROWS = [
    ["convkit_kernels"],
    ["random", "threads", "version", "files"],
    ["device"],
    ["cuda"],
    ["autograd"],
    ["ops"],
    ["tensor"],
    ["nn", "optim"],
    ["data", "models", "train", "study", "imaging", "interop", "performance"],
    ["cli"],
    ["__main__"],
]
PEERS = {("train", "data")}
# Modules that may know one peer more: an averaged model is a module.
PEERS_OF_MODULES = {("convkit.optim.swa_utils", "nn")}
# `import convkit` itself stands for all that it imports, so only these may, inside functions or above it.
USES_THE_WHOLE = {"data", "train", "study", "imaging", "cli", "__main__"}


@functools.cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT / "kernels" if path.is_relative_to(ROOT / "kernels") else ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in SOURCES}


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def nodes(node: ast.AST) -> Iterator[ast.AST]:
    """All nodes, but for what only type checkers see."""
    for child in ast.iter_child_nodes(node):
        if is_type_checking(child):
            for other in child.orelse:
                yield other
                yield from nodes(other)
        else:
            yield child
            yield from nodes(child)


def imported(name: str, is_package: bool, code: ast.AST) -> Iterator[tuple[str, int]]:
    """(module, line) of every import in `code`, the source of module `name`, at any depth; names are absolute."""
    for node in nodes(code):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            here = name.split(".") if is_package else name.split(".")[:-1]
            base = ".".join([*here[: len(here) - node.level + 1], *filter(None, [node.module])]) if node.level else node.module or ""
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                yield (inner if inner in MODULES else base), node.lineno


def part(module: str) -> str:
    """convkit.nn.layers.conv -> nn; convkit itself -> ''; convkit_kernels.cpu -> convkit_kernels."""
    names = module.split(".")
    return names[0] if names[0] != "convkit" else names[1] if len(names) > 1 else ""


def row(name: str) -> int:
    return next(i for i, names in enumerate(ROWS) if name in names)


def wrong_imports(name: str, is_package: bool, code: ast.AST) -> list[str]:
    """What module `name` must not import."""
    wrong = []
    own = part(name)
    for module, line in imported(name, is_package, code):
        if module.split(".")[0] not in ("convkit", "convkit_kernels"):
            continue
        other = part(module)
        if own == "":  # convkit/__init__.py names things of all parts but these
            bad = other in ("cli", "__main__")
        elif other == "":
            bad = own not in USES_THE_WHOLE
        else:
            bad = own != other and row(other) >= row(own) and (own, other) not in PEERS and (name, other) not in PEERS_OF_MODULES
        if bad:
            wrong.append(f"{name}, line {line}, imports {module}")
    return wrong


def test_imports_run_one_way():
    wrong = []
    for name, path in MODULES.items():
        wrong += wrong_imports(name, path.name == "__init__.py", tree(path))
    assert not wrong, "\n".join(wrong)


def test_the_test_of_imports_sees_them():
    def found(name, code, is_package=False):
        return bool(wrong_imports(name, is_package, ast.parse(code)))

    assert found("convkit.ops.conv", "from ..tensor import Tensor")
    assert found("convkit.ops.conv", "def f():\n    from ..tensor import Tensor")
    assert found("convkit.ops.conv", "from .. import tensor")
    assert found("convkit.ops.conv", "import convkit")
    assert found("convkit.ops.conv", "from convkit import nn")
    assert found("convkit.ops", "from ..nn import functional", is_package=True)
    assert found("convkit.optim.sgd", "from ..nn import Module")
    assert found("convkit.device", "import convkit.autograd")
    assert found("convkit.data.loader", "from ..train import fit")
    assert found("convkit_kernels.cpu.conv", "import convkit.device")
    assert found("convkit.random", "from .device import kernels")
    assert not found("convkit.ops.conv", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from ..tensor import Tensor")
    assert not found("convkit.ops.conv", "from ..autograd import Function\nfrom .matmul import same_dtype\nimport convkit_kernels.geometry")
    assert not found("convkit.train.loop", "from ..data import DataLoader\nimport convkit")
    assert not found("convkit", "from .nn import functional", is_package=True)


def test_every_part_has_its_row():
    parts = {part(name) for name in MODULES} - {""}
    assert parts <= {name for names in ROWS for name in names}


def test_kernels_know_nothing_of_the_framework():
    for name, path in MODULES.items():
        if name.split(".")[0] == "convkit_kernels":
            others = {module.split(".")[0] for module, _ in imported(name, path.name == "__init__.py", tree(path))}
            assert "convkit" not in others, name
            if ".cpu" not in name and ".cuda" not in name:  # what all backends share knows none of them
                assert not any(m.startswith("convkit_kernels.cpu") for m, _ in imported(name, path.name == "__init__.py", tree(path))), name


def test_only_device_chooses_a_backend():
    """Who names `convkit_kernels.cpu` besides: the threads' front, and the command line, which reports on it and compiles it."""
    users = {
        part(name)
        for name, path in MODULES.items()
        for module, _ in imported(name, path.name == "__init__.py", tree(path))
        if part(name) != "convkit_kernels" and module.startswith(("convkit_kernels.cpu", "convkit_kernels.cuda"))
    }
    assert users <= {"device", "cuda", "threads", "cli"}


# ------------------------------------------------------------------------------------------ twins
def functions(path: Path) -> dict[str, ast.FunctionDef]:
    return {node.name: node for node in tree(path).body if isinstance(node, ast.FunctionDef)}


def argument_names(function: ast.FunctionDef) -> list[str]:
    a = function.args
    return [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]


def public_kernels(folder: Path = CPU) -> dict[str, Path]:
    """{name: the file that defines it} of all that `convkit_kernels.cpu`, or cuda, offers."""
    where = {}
    names: list[str] = []
    for node in tree(folder / "__init__.py").body:
        if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
            where |= {alias.asname or alias.name: folder / f"{node.module}.py" for alias in node.names}
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            names = ast.literal_eval(node.value)
    assert sorted(names) == sorted(where), f"{folder}/__init__.py: what is imported and what __all__ lists differ"
    return {name: where[name] for name in names}


@pytest.mark.parametrize("name", public_kernels())
def test_every_kernel_has_a_reference_with_the_same_arguments(name):
    path = public_kernels()[name]
    twin = functions(REFERENCE / path.name).get(name)
    assert twin is not None, f"tests/reference/{path.name} has no {name}"
    assert argument_names(twin) == argument_names(functions(path)[name])


def test_every_kernel_has_its_twin_on_the_gpu():
    assert set(public_kernels()) == set(public_kernels(CUDA))


@pytest.mark.parametrize("name", public_kernels(CUDA))
def test_kernels_of_both_backends_agree(name):
    """The same file, function and arguments."""
    path = public_kernels(CUDA)[name]
    assert public_kernels()[name].name == path.name
    assert argument_names(functions(path)[name]) == argument_names(functions(CPU / path.name)[name])


def test_only_the_driver_imports_cuda():
    users = {
        path.stem
        for name, path in MODULES.items()
        for module, _ in imported(name, path.name == "__init__.py", tree(path))
        if module.split(".")[:2] == ["numba", "cuda"] or module.split(".")[0] == "numba_cuda"
    }
    assert users <= {"driver", "simulator", "mathfunctions", "vectors"}


def test_references_import_nothing_of_convkit():
    for path in REFERENCE.glob("*.py"):
        for node in ast.walk(tree(path)):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(n.split(".")[0] in ("convkit", "convkit_kernels") for n in names), path.name


@pytest.mark.parametrize("stem", sorted({path.stem for path in public_kernels().values()}))
def test_every_kernel_file_has_a_test_and_a_benchmark(stem):
    assert (ROOT / "tests" / "kernels" / f"test_{stem}.py").is_file()
    assert (ROOT / "asv_benchmarks" / "benchmarks" / f"{stem}.py").is_file()


# Files without a public kernel, and why they have a test but no benchmark of their own.
SUPPORT = {
    "bands": "the walk of conv, measured there",
    "lanes": "a few instructions of the code that microkernel, winograd, windows and copy emit",
    "sliding": "convolutions to few channels, in their times",
    "finish": "what conv and matmul do to their sums, in the times of both",
    "microkernel": "its tiles run inside conv and matmul, whose benchmarks report GFLOPS and the share of the peak",
    "calibration": "it measures convolutions for `choice`; there is nothing of its own to time",
    "choice": "it decides between algorithms; what it decides shows in the times of conv",
    "windows": "the walk of pooling, measured there",
    "outer": "the weight gradients of conv, measured there",
    "winograd": "one of the algorithms of conv, and a parameter of conv's benchmark",
    "machine": "it measures the machine for the benchmarks; there is nothing of its own to time",
    "runtime": "what a launch costs is in every benchmark; compile and import seconds are measured by startup.py",
    "memory": "the alignment of arrays shows in the GFLOPS of conv; there is nothing of its own to time",
    "denormals": "two instructions a task, in the times of conv, matmul, norm and optimizer",
    "tasks": "the parallel loop of softmax, norm and sum, measured there",
    "mathfunctions": "compiled into activation, elementwise, softmax and random, and measured there",
}


def test_the_other_kernel_files_have_a_test():
    files = {path.stem for path in CPU.glob("*.py")} - {"__init__"}
    assert files - {path.stem for path in public_kernels().values()} == set(SUPPORT)
    for stem in (*SUPPORT, "geometry", "layout"):
        assert (ROOT / "tests" / "kernels" / f"test_{stem}.py").is_file(), stem


@pytest.mark.parametrize("stem", sorted(p.stem for p in (ROOT / "convkit" / "ops").glob("*.py") if p.stem != "__init__"))
def test_every_file_of_ops_has_a_test(stem):
    assert (ROOT / "tests" / "ops" / f"test_{stem}.py").is_file()


# -------------------------------------------------------------------------------------- start-up
HEAVY = ["numba", "scipy.signal", "matplotlib", "onnx", "pooch", "PIL", "rich"]


def test_importing_convkit_is_light(python):
    code = f"import sys, convkit; print([m for m in {HEAVY} if m in sys.modules])"
    assert python(code).stdout.strip() == "[]"


def test_training_on_the_cpu_never_imports_cuda(python):
    code = """
import sys, convkit
from convkit import nn, optim
net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3))
step = optim.SGD(net.parameters(), lr=0.1)
loss = nn.functional.cross_entropy(net(convkit.randn(2, 1, 4, 4)), convkit.tensor([0, 2]))
loss.backward()
step.step()
print([m for m in sys.modules if m.split(".")[:2] in (["numba", "cuda"], ["numba_cuda"])])
"""
    assert python(code).stdout.strip() == "[]"


# ---------------------------------------------------------------------------------- documentation
@functools.cache
def classes() -> dict[str, ast.ClassDef]:
    return {n.name: n for path in SOURCES for n in ast.walk(tree(path)) if isinstance(n, ast.ClassDef)}


def bases(node: ast.ClassDef) -> Iterator[ast.ClassDef]:
    """The classes of ours that `node` derives from, near ones first."""
    for base in node.bases:
        parent = classes().get(ast.unparse(base).split(".")[-1])
        if parent is not None and parent is not node:
            yield parent
            yield from bases(parent)


def method(node: ast.ClassDef, name: str) -> ast.FunctionDef | None:
    return next((f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == name), None)


def undocumented(path: Path) -> Iterator[str]:
    """Public functions, classes and methods without a docstring; one of the class derived from will do."""
    for node in tree(path).body:
        if not isinstance(node, ast.FunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        parents = list(bases(node)) if isinstance(node, ast.ClassDef) else []
        if not ast.get_docstring(node) and not any(ast.get_docstring(p) for p in parents):
            yield f"{path.relative_to(ROOT)}: {node.name}"
        for f in node.body if isinstance(node, ast.ClassDef) else []:
            if not isinstance(f, ast.FunctionDef) or f.name.startswith("_") or ast.get_docstring(f):
                continue
            if any(ast.unparse(d).endswith(".setter") for d in f.decorator_list):
                continue
            inherited = [method(p, f.name) for p in parents]
            if not any(g is not None and ast.get_docstring(g) for g in inherited):
                yield f"{path.relative_to(ROOT)}: {node.name}.{f.name}"


def test_what_is_public_is_documented():
    missing = [name for path in SOURCES for name in undocumented(path)]
    assert not missing, "\n".join(missing)


def test_every_module_says_what_it_is():
    assert not [str(path.relative_to(ROOT)) for path in SOURCES if not ast.get_docstring(tree(path))]


def test_functions_and_layers_are_exported():
    """What is imported under `nn.functional` and what is a public layer is in `__all__`, from which the list of names is made."""
    from convkit import nn
    from convkit.nn import functional, layers

    imported = {
        alias.asname or alias.name for node in tree(Path(functional.__file__)).body if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert imported - {"annotations"} == set(functional.__all__)
    defined = {
        node.name
        for path in Path(layers.__file__).parent.glob("*.py")
        for node in tree(path).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    }
    assert defined == set(layers.__all__) <= set(nn.__all__)


def test_files_fit_in_a_head():
    long = {}
    for folder in ("convkit", "kernels", "tests", "examples", "asv_benchmarks"):
        for path in (ROOT / folder).rglob("*.py"):
            lines = len(path.read_text(encoding="utf-8").splitlines())
            if lines > 600:
                long[str(path.relative_to(ROOT))] = lines
    assert not long


def test_no_paths_of_one_machine():
    machine = re.compile(r"(?<![\w.*~$}>])/(work|tmp)/")
    files = [ROOT / "README.md", *(p for folder in ("convkit", "kernels", "docs") for p in (ROOT / folder).rglob("*"))]
    for path in files:
        if path.suffix in (".py", ".md", ".txt", ".rst", ".toml", ".json", ".yml", ".yaml", ".cfg") and "__pycache__" not in path.parts:
            found = machine.search(path.read_text(encoding="utf-8"))
            assert found is None, f"{path.relative_to(ROOT)} names {found.group()}"


# -------------------------------------------------------------------------------------- compiling
def written_after_unpacking(code: ast.AST) -> list[str]:
    """Names that take part in an assignment `a, b, c, d, ... = ...` of four or more and whose elements are then written."""
    wrong = []
    for function in ast.walk(code):
        if not isinstance(function, ast.FunctionDef):
            continue
        unpacked = {
            name.id
            for node in ast.walk(function)
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Tuple | ast.List) and len(target.elts) >= 4
            for name in target.elts
            if isinstance(name, ast.Name)
        }
        for node in ast.walk(function):
            if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name):
                if node.value.id in unpacked:
                    wrong.append(f"{function.name}, line {node.lineno}: {node.value.id}")
    return wrong


def test_kernels_do_not_write_to_arrays_that_were_unpacked_together():
    """Numba, silently, loses writes in a parallel loop to an array that came from unpacking four or more values at once.

    It happened to the gradient of cross entropy: `row, out, t, factor = y[i], gx[i], target[i], g[i]` and then `out[t] -= ...`.
    One assignment a line is right.
    """
    wrong = [f"{path.name}: {what}" for path in CPU.glob("*.py") for what in written_after_unpacking(tree(path))]
    assert not wrong, "\n".join(wrong)
    bad = "def f(y, gx):\n    for i in prange(9):\n        row, out, t, f = y[i], gx[i], 1, 2\n        out[t] -= f\n"
    assert written_after_unpacking(ast.parse(bad)) == ["f, line 4: out"]
    assert not written_after_unpacking(ast.parse(bad.replace("out[t] -= f", "gx[i, t] -= f")))
