"""Imports point one way, each library has one seam, and nothing is computed at import time.

    learner <- data <- sequences | bandits | rl | generative <- experiments <- scripts
    learner <- training <- experiments          reporting <- experiments

The rules are held by walking the syntax trees of all files. Each rule is tried on a made-up source
that breaks it, so that a rule that can never fail is noticed.
"""

import ast
import pathlib
from collections.abc import Iterator

import pytest

ROOT = pathlib.Path(__file__).parents[1]

# What each part of `dl_lectures` may import of the project, beside itself and `errors`.
_ALGORITHM = {"learner", "convolution", "layers", "data"}
MAY_IMPORT = {
    "__init__": set(),
    "errors": set(),
    "learner": set(),
    "convolution": set(),
    "layers": set(),
    "data": {"learner"},
    "sequences": _ALGORITHM,
    "bandits": _ALGORITHM,
    "rl": _ALGORITHM,
    "generative": _ALGORITHM,
    "training": {"learner"},
    "reporting": {"__init__"},  # the version
}

# The files that may import a library; a pattern for pathlib's `match`.
SEAMS = {
    "absl": ("experiments/*.py", "scripts/*.py"),
    "flax": ("dl_lectures/*/networks.py",),
    "gymnasium": ("scripts/evaluate_gymnasium.py",),
    "gymnax": ("dl_lectures/rl/environments.py",),
    "matplotlib": ("dl_lectures/reporting/plotting.py",),
    "matplotlib_fontja": ("dl_lectures/reporting/plotting.py",),
    "orbax": ("dl_lectures/training/checkpoint.py",),
    "sklearn": ("dl_lectures/data/*.py",),
    "tensorboardX": ("dl_lectures/training/metrics.py",),
    "torch": ("scripts/benchmark.py",),
}

# Slow to import: only inside functions.
LAZY = set(SEAMS) - {"absl", "flax"} | {"scipy"}

# Randomness that --seed does not govern, and untyped keys. Data sets are split, and benchmarks made
# up, by a generator of their own, so that they are the same for every seed.
BANNED = ("random", "numpy.random", "jax.random.PRNGKey")
MAY_DRAW = ("dl_lectures/data/*.py", "scripts/*.py")

# Calls that make arrays or keys, or start the backend.
COMPUTES = ("jax.numpy.", "jax.random.", "jax.devices", "jax.local_devices", "jax.device_put")


def violations(path: str, source: str) -> list[str]:
    """The rules that a file breaks, one line each.

    Args:
        path: of the file, from the root of the repository.
        source: its text.
    """
    tree = ast.parse(source)
    found = {*_import_violations(path, tree), *_name_violations(path, tree)}
    return [f"{path}:{line}: {words}" for line, words in sorted(found)]


def _import_violations(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    at_import = {id(node) for node in _run_at_import(tree)}
    for node in ast.walk(tree):
        for name in _imported(node):
            library = name.split(".")[0]
            if library == "dl_lectures":
                if not _may_import(path, name):
                    yield node.lineno, f"imports {name} against the direction"
            elif library in ("experiments", "scripts", "tests"):
                if not path.startswith(("scripts/", f"{library}/")) or library == "tests":
                    yield node.lineno, f"imports {library}"
            elif not _at_seam(path, library):
                yield node.lineno, f"imports {library} outside of {SEAMS[library]}"
            if library in LAZY and id(node) in at_import:
                yield node.lineno, f"imports {library} outside of a function"
        if isinstance(node, ast.ImportFrom) and node.level:
            yield node.lineno, "imports by a relative name"


def _at_seam(path: str, library: str) -> bool:
    seams = SEAMS.get(library, ("*",))
    return any(pathlib.PurePath(path).match(seam) for seam in seams)


def _imported(node: ast.AST) -> list[str]:
    """The dotted names that a statement imports; for `from a import b`, a.b."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def _may_import(path: str, name: str) -> bool:
    parts = pathlib.PurePath(path).with_suffix("").parts
    if parts[0] != "dl_lectures":  # experiments and scripts
        return True
    importer, imported = parts[1], [*name.split("."), "__init__"][1]
    if imported not in MAY_IMPORT:  # a name in dl_lectures/__init__.py
        imported = "__init__"
    return imported in {importer, "errors", *MAY_IMPORT[importer]}


def _name_violations(path: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    names = _aliases(tree)
    may_draw = any(pathlib.PurePath(path).match(pattern) for pattern in MAY_DRAW)
    for node in ast.walk(tree):
        for name in [*_imported(node), _dotted(node, names)]:
            for banned in BANNED:
                if name and f"{name}.".startswith(f"{banned}.") and not may_draw:
                    yield node.lineno, f"uses {banned}"
    for node in _run_at_import(tree):
        if isinstance(node, ast.Call):
            name = _dotted(node.func, names)
            if name and name.startswith(COMPUTES):
                yield node.lineno, f"calls {name} at import time"


def _aliases(tree: ast.Module) -> dict[str, str]:
    """The full dotted name of each name that the file imports."""
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def _dotted(node: ast.AST, names: dict[str, str]) -> str | None:
    """The full name of `a.b.c` whose first part was imported, else None."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in names:
        return None
    return ".".join([names[node.id], *reversed(parts)])


def _run_at_import(tree: ast.Module) -> Iterator[ast.AST]:
    """The nodes that run when the file is imported.

    Those are bodies of modules and classes, defaults of arguments, and decorators.
    """
    pending: list[ast.AST] = list(tree.body)
    while pending:
        node = pending.pop()
        yield node
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            defaults = [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]
            pending += [*defaults, *node.decorator_list]
        elif isinstance(node, ast.Lambda):
            pending += [*node.args.defaults, *(d for d in node.args.kw_defaults if d)]
        elif isinstance(node, ast.If) and _is_guard(node.test):
            pending += node.orelse
        else:
            pending += ast.iter_child_nodes(node)


def _is_guard(test: ast.expr) -> bool:
    """Whether it is `TYPE_CHECKING` or `__name__ == "__main__"`: not true at import time."""
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING", "__name__ == '__main__'")


def files() -> list[str]:
    """All source files that the rules are for, from the root."""
    found = [
        p
        for room in ("dl_lectures", "experiments", "scripts")
        for p in ROOT.glob(f"{room}/**/*.py")
    ]
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def test_all_files_keep_the_rules():
    found = [
        line for path in files() for line in violations(path, (ROOT / path).read_text("utf-8"))
    ]
    assert not found, "\n".join(found)


def test_files_are_found():
    assert {"dl_lectures/learner.py", "dl_lectures/generative/vae.py", "experiments/vae.py"} <= set(
        files()
    )


def test_every_room_has_a_rule():
    rooms = {pathlib.PurePath(path).with_suffix("").parts[1] for path in files() if "dl_" in path}
    assert rooms <= set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("path", "source", "words"),
    [
        ("dl_lectures/learner.py", "from dl_lectures import data", "against the direction"),
        ("dl_lectures/data/x.py", "import dl_lectures.rl.dqn", "against the direction"),
        ("dl_lectures/rl/x.py", "from dl_lectures.sequences import lstm", "against the direction"),
        ("dl_lectures/rl/x.py", "from dl_lectures.generative.vae import make", "direction"),
        ("dl_lectures/rl/x.py", "def f():\n  from dl_lectures import training", "direction"),
        ("dl_lectures/training/x.py", "from dl_lectures.rl import dqn", "against the direction"),
        ("dl_lectures/training/x.py", "from dl_lectures.reporting import results", "direction"),
        ("dl_lectures/reporting/x.py", "from dl_lectures.training import trainer", "direction"),
        ("dl_lectures/rl/x.py", "from experiments import dqn", "imports experiments"),
        ("experiments/x.py", "from scripts import reproduce", "imports scripts"),
        ("experiments/x.py", "from tests import conftest", "imports tests"),
        ("dl_lectures/rl/x.py", "from . import dqn", "relative"),
        ("dl_lectures/rl/dqn.py", "import flax.linen as nn", "outside of"),
        ("dl_lectures/rl/dqn.py", "def f():\n  import gymnax", "outside of"),
        ("dl_lectures/rl/environments.py", "import gymnax", "outside of a function"),
        ("dl_lectures/reporting/plotting.py", "import matplotlib.figure", "outside of a function"),
        ("experiments/x.py", "def f():\n  from matplotlib import pyplot", "outside of"),
        ("dl_lectures/training/trainer.py", "from absl import flags", "outside of"),
        ("dl_lectures/training/x.py", "def f():\n  import orbax.checkpoint", "outside of"),
        ("dl_lectures/data/x.py", "from sklearn import datasets", "outside of a function"),
        ("dl_lectures/rl/x.py", "import random", "uses random"),
        (
            "dl_lectures/rl/x.py",
            "import numpy as np\ndef f():\n  np.random.seed(0)",
            "numpy.random",
        ),
        ("dl_lectures/rl/x.py", "import jax\nk = lambda: jax.random.PRNGKey(0)", "PRNGKey"),
        ("dl_lectures/rl/x.py", "from jax.random import PRNGKey", "PRNGKey"),
        ("dl_lectures/rl/x.py", "import jax.numpy as jnp\nZERO = jnp.zeros(3)", "import time"),
        ("dl_lectures/rl/x.py", "import jax\nKEY = jax.random.key(0)", "import time"),
        ("dl_lectures/rl/x.py", "import jax\ndef f(key=jax.random.key(0)): pass", "import time"),
        ("dl_lectures/rl/x.py", "import jax\nclass A:\n  n = len(jax.devices())", "import time"),
        (
            "dl_lectures/rl/x.py",
            "from jax import numpy as jnp\nf = lambda x=jnp.ones(2): x",
            "time",
        ),
    ],
)
def test_each_rule_can_fail(path, source, words):
    found = violations(path, source)
    assert len(found) == 1
    assert words in found[0]
    assert found[0].startswith(f"{path}:")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        (
            "dl_lectures/rl/dqn.py",
            "from dl_lectures import learner\nfrom dl_lectures.data import x",
        ),
        ("dl_lectures/rl/dqn.py", "from dl_lectures.errors import UsageError"),
        ("dl_lectures/reporting/results.py", "import dl_lectures\nfrom dl_lectures import errors"),
        ("dl_lectures/rl/environments.py", "def f():\n  import gymnax"),
        (
            "dl_lectures/rl/x.py",
            "import jax\nimport jax.numpy as jnp\nf = jax.jit(lambda: jnp.ones(2))",
        ),
        ("dl_lectures/rl/x.py", "import jax\n@jax.custom_vjp\ndef f(x): return jax.numpy.sin(x)"),
        ("dl_lectures/reporting/x.py", "if TYPE_CHECKING:\n  import scipy"),
        (
            "experiments/x.py",
            "from experiments import common\nfrom dl_lectures.training import trainer",
        ),
        ("experiments/x.py", "if __name__ == '__main__':\n  from absl import app"),
        ("scripts/x.py", "from experiments import common"),
    ],
)
def test_good_sources_pass(path, source):
    assert violations(path, source) == []
