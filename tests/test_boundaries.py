"""The architecture's rules, held over the real tree, and proved to bite on small trees that break them."""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from importlib.util import resolve_name
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
TENSORFLOW = ("tensorflow", "keras")
WEB = ("fastapi", "starlette", "uvicorn")
SHARED = ("worker.contract", "worker.sources", "worker.selection", "worker.classical_augmentation")
"""What of `worker` the front end may import: what is agreed on, and what it shows on request without a job."""
CONTRACT_NEEDS = ("pydantic", "pydantic_settings", "pythonjsonlogger", "redis", "rq", "ulid")
BROUGHT_ALONG = {"keras": "tensorflow", "starlette": "fastapi"}
"""Packages that another one declares and re-exports: their version is its choice."""
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}
CODE_FOLDERS = {"app", "worker"}
OTHER_PYTHON = {"tests", "benchmarks", "docs"}
LONGEST_MODULE = 400
LARGEST_FILE = 1_500_000
HOME = re.compile(r"(?<![\w.])/(?:home|root|Users)/[\w.-]+|[A-Z]:\\Users\\")


@dataclass(frozen=True)
class Import:
    """One module that another one names; `deferred` until a function runs, `typing_only` if it never happens."""

    importer: str
    imported: str
    where: str
    deferred: bool
    typing_only: bool

    @property
    def root(self) -> str:
        return self.imported.partition(".")[0]

    def __str__(self) -> str:
        return f"{self.where} imports {self.imported}"


@dataclass(frozen=True)
class Tree:
    """A project folder: `files` are the tracked ones, relative to `root`."""

    root: Path
    files: tuple[Path, ...]

    @cached_property
    def modules(self) -> dict[str, Path]:
        """Every module of the code folders, by dotted name."""
        paths = sorted(path for folder in CODE_FOLDERS for path in (self.root / folder).rglob("*.py"))
        names = (".".join(path.relative_to(self.root).with_suffix("").parts) for path in paths)
        return {name.removesuffix(".__init__"): path for name, path in zip(names, paths, strict=True)}

    @cached_property
    def imports(self) -> list[Import]:
        return [found for name in self.modules for found in self._imports_of(name)]

    def of(self, *packages: str) -> Iterator[Import]:
        """What the modules within `packages` import."""
        return (found for found in self.imports if within(found.importer, packages))

    def _imports_of(self, name: str) -> Iterator[Import]:
        path = self.modules[name]
        package = name if path.stem == "__init__" else name.rpartition(".")[0]
        nodes = list(ast.walk(ast.parse(path.read_bytes())))
        functions = [node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)]
        deferred = {inner for function in functions for inner in ast.walk(function)}
        checks = [node for node in nodes if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)]
        typing_only = {inner for check in checks for statement in check.body for inner in ast.walk(statement)}
        for node in nodes:
            where = f"{path.relative_to(self.root)}:{getattr(node, 'lineno', 0)}"
            for imported in self._named_by(node, package):
                yield Import(name, imported, where, node in deferred, node in typing_only)

    def _named_by(self, node: ast.AST, package: str) -> Iterator[str]:
        match node:
            case ast.Import():
                yield from (alias.name for alias in node.names)
            case ast.ImportFrom():
                base = resolve_name("." * node.level + (node.module or ""), package)
                for alias in node.names:
                    submodule = f"{base}.{alias.name}"
                    yield submodule if submodule in self.modules else base
            case ast.Call(
                func=ast.Name("import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(str(name)), *_],
            ):
                yield name


def within(name: str, packages: Iterable[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def cycle_in(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The nodes of one cycle, each followed by one that it points to and the first again at the end; [] if none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        nodes: list[str] = error.args[1]
        return nodes[::-1]  # graphlib lists predecessors first
    return []


# The rules. Each yields one readable line per violation.


def the_front_end_stays_light(tree: Tree) -> Iterator[str]:
    for found in tree.of("app"):
        if within(found.imported, TENSORFLOW):
            yield f"{found}: the front end's image has no TensorFlow"
        if within(found.imported, ["worker"]) and not within(found.imported, SHARED):
            yield f"{found}: of worker the front end may import only {', '.join(SHARED)}"


def the_shared_part_stands_alone(tree: Tree) -> Iterator[str]:
    for found in tree.of(*SHARED):
        if found.root in TENSORFLOW or (found.root == "worker" and not within(found.imported, SHARED)):
            yield f"{found}: the front end would import it too"


def workers_know_nothing_of_the_web(tree: Tree) -> Iterator[str]:
    for found in tree.of("worker"):
        if within(found.imported, ["app", *WEB]):
            yield f"{found}: a worker's image has no web framework, and the front end knows workers, not the reverse"


def the_contract_needs_little(tree: Tree) -> Iterator[str]:
    for found in tree.of("worker.contract"):
        allowed = found.root in sys.stdlib_module_names or within(found.imported, ["worker.contract", *CONTRACT_NEEDS])
        if not allowed:
            yield f"{found}: the contract may import only itself, the standard library, {', '.join(CONTRACT_NEEDS)}"


def stages_stand_alone(tree: Tree) -> Iterator[str]:
    for found in tree.of("worker.stages"):
        if within(found.imported, ["worker.stages"]) and found.imported != found.importer:
            yield f"{found}: stages speak through files and results, not to each other"
        if found.root in {"redis", "rq"} or within(found.imported, ["worker.jobs", "worker.main"]):
            yield f"{found}: stages know nothing of the queue; they have a JobContext"


def imports_run_one_way(tree: Tree) -> Iterator[str]:
    # A deferred import counts: it hides a cycle, it does not undo it.
    inner = [found for found in tree.imports if found.imported in tree.modules and not found.typing_only]
    edges = {(found.importer, found.imported): found for found in inner}
    graph: dict[str, set[str]] = {}
    for importer, imported in edges:
        graph.setdefault(importer, set()).add(imported)
    if cycle := cycle_in(graph):
        yield f"circular import: {'; '.join(str(edges[step]) for step in pairwise(cycle))}"


def images_have_what_they_import(tree: Tree) -> Iterator[str]:
    project = tomllib.loads((tree.root / "pyproject.toml").read_text())["project"]
    core, extras = _names(project["dependencies"]), project["optional-dependencies"]
    distributions = importlib.metadata.packages_distributions()
    for found in tree.imports:
        if found.root in sys.stdlib_module_names or found.root in CODE_FOLDERS:
            continue
        installed = {"app": ["api"], "worker": ["worker"]}[found.importer.partition(".")[0]]
        if found.importer.startswith("app") and found.deferred:
            installed.append("local")
        declared = core.union(*(_names(extras[extra]) for extra in installed))
        owners = {BROUGHT_ALONG.get(name, name) for name in _names(distributions.get(found.root, [found.root]))}
        if not owners & declared:
            yield f"{found}: neither the dependencies nor the extra {' or '.join(installed)} declares it"


def _names(requirements: Iterable[str]) -> set[str]:
    names = (re.split(r"[^\w.-]", requirement, maxsplit=1)[0] for requirement in requirements)
    return {re.sub(r"[-_.]+", "-", name).lower() for name in names}


def there_are_two_code_packages(tree: Tree) -> Iterator[str]:
    for file in tree.files:
        if file.suffix == ".py" and (len(file.parts) == 1 or file.parts[0] not in CODE_FOLDERS | OTHER_PYTHON):
            yield f"{file}: code lives in {' or '.join(sorted(CODE_FOLDERS))}"


def no_module_is_a_drawer(tree: Tree) -> Iterator[str]:
    for file in tree.files:
        if file.suffix == ".py" and file.stem.strip("_") in VAGUE_NAMES:
            yield f"{file}: name it after what it does"


def no_module_is_endless(tree: Tree) -> Iterator[str]:
    for file in tree.files:
        if file.suffix == ".py" and (lines := (tree.root / file).read_text().count("\n")) > LONGEST_MODULE:
            yield f"{file}: {lines} lines, {LONGEST_MODULE} at most"


def modules_say_what_they_are(tree: Tree) -> Iterator[str]:
    for name, path in tree.modules.items():
        private = any(part.startswith("_") and not part.endswith("__") for part in name.split("."))
        if not private and not ast.get_docstring(ast.parse(path.read_bytes())):
            yield f"{path.relative_to(tree.root)}: a public module needs a docstring"


def no_file_is_huge(tree: Tree) -> Iterator[str]:
    for file in tree.files:
        if (size := (tree.root / file).stat().st_size) > LARGEST_FILE:
            yield f"{file}: {size:,} bytes, {LARGEST_FILE:,} at most"


def no_file_names_a_home(tree: Tree) -> Iterator[str]:
    for file in tree.files:
        for number, line in enumerate((tree.root / file).read_bytes().decode(errors="replace").splitlines(), start=1):
            if home := HOME.search(line):
                yield f"{file}:{number} names {home[0]}, which is on one machine only"


Rule = Callable[[Tree], Iterator[str]]
RULES: tuple[Rule, ...] = (
    the_front_end_stays_light,
    the_shared_part_stands_alone,
    workers_know_nothing_of_the_web,
    the_contract_needs_little,
    stages_stand_alone,
    imports_run_one_way,
    images_have_what_they_import,
    there_are_two_code_packages,
    no_module_is_a_drawer,
    no_module_is_endless,
    modules_say_what_they_are,
    no_file_is_huge,
    no_file_names_a_home,
)


# What really happens, in a fresh process: whoever imports something forbidden is caught in the act.

PROBE = """
import importlib, json, sys, traceback

modules, forbidden = json.loads(sys.argv[1])


class Guard:
    def find_spec(self, name, path=None, target=None):
        if any(name == other or name.startswith(other + ".") for other in forbidden):
            frames = [frame for frame in traceback.extract_stack() if "importlib" not in frame.filename]
            print(name, "is imported by", *[f"{frame.filename}:{frame.lineno}" for frame in frames[1:-1]])


sys.meta_path.insert(0, Guard())
for module in modules:
    importlib.import_module(module)
"""


def caught_importing(tree: Tree, modules: Iterable[str], forbidden: Iterable[str]) -> str:
    """One line for each forbidden module that importing `modules` asks for, with the chain of files that led to it."""
    command = [sys.executable, "-c", PROBE, json.dumps([sorted(modules), sorted(forbidden)])]
    probe = subprocess.run(command, cwd=tree.root, capture_output=True, text=True, check=False)
    assert probe.returncode == 0, probe.stderr
    return probe.stdout


@pytest.fixture(scope="module")
def project() -> Tree:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: which files are tracked is unknown")
    # A checkout that belongs to another user, as in many containers, is safe to list.
    listing = subprocess.check_output(["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"], cwd=ROOT, text=True)
    tracked = (Path(name) for name in listing.split("\0") if name)
    return Tree(ROOT, tuple(file for file in tracked if (ROOT / file).is_file()))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_project_keeps_every_rule(rule: Rule, project: Tree) -> None:
    violations = list(rule(project))
    assert not violations, "\n".join(["", *violations])


def test_the_front_end_really_imports_no_tensorflow_and_no_worker_code(project: Tree) -> None:
    modules = [name for name in project.modules if within(name, ["app"]) and not name.endswith("__main__")]
    beyond = [name for name in project.modules if name.startswith("worker.") and not within(name, SHARED)]
    caught = caught_importing(project, modules, [*TENSORFLOW, *beyond])
    assert not caught, caught


def test_a_worker_really_starts_without_tensorflow_and_without_the_web(project: Tree) -> None:
    caught = caught_importing(project, ["worker.main"], [*TENSORFLOW, *WEB, "app"])
    assert not caught, caught


def test_the_command_line_really_starts_with_the_core_dependencies_alone(project: Tree) -> None:
    # `ragan worker` is how a worker's container starts, and that has nothing of the extra `api`.
    caught = caught_importing(project, ["app.cli"], [*TENSORFLOW, *WEB, "jsonschema", "mimeparse"])
    assert not caught, caught


# The proof that the rules bite.

PYPROJECT = """
[project]
dependencies = ["redis>=8", "python-ulid"]
[project.optional-dependencies]
api = ["fastapi"]
worker = ["tensorflow"]
local = ["matplotlib"]
"""
SOUND = {
    "pyproject.toml": PYPROJECT,
    "app/__init__.py": '"""Web."""',
    "app/main.py": '"""Web."""\nfrom fastapi import FastAPI\nfrom worker import selection\nfrom . import jobs',
    "app/jobs.py": '"""Queue."""\nimport worker.contract\ndef plot():\n    import matplotlib',
    "worker/__init__.py": '"""Work."""',
    "worker/selection.py": '"""Choice."""\nfrom .contract import ids',
    "worker/contract/__init__.py": '"""Agreed."""',
    "worker/contract/ids.py": '"""Ids."""\nimport ulid\nif TYPE_CHECKING:\n    from . import names',
    "worker/contract/names.py": '"""Names."""\nfrom worker.contract import ids',
    "worker/stages/__init__.py": '"""Stages."""',
    "worker/stages/train.py": '"""Learn."""\nimport keras',
    "tests/test_app.py": "import pytest",
}


def drawn(folder: Path, files: Mapping[str, str]) -> Tree:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return Tree(folder, tuple(Path(name) for name in files))


def test_a_sound_tree_breaks_no_rule(tmp_path: Path) -> None:
    tree = drawn(tmp_path, SOUND)
    assert [violation for rule in RULES for violation in rule(tree)] == []


@pytest.mark.parametrize(
    ("rule", "name", "content", "violation"),
    [
        (the_front_end_stays_light, "app/jobs.py", "def f():\n    import keras", "app/jobs.py:2 imports keras"),
        (the_front_end_stays_light, "app/a/b.py", "from worker import dataset", "app/a/b.py:1 imports worker"),
        (the_front_end_stays_light, "app/jobs.py", "import_module('worker.jobs')", "app/jobs.py:1 imports worker.jobs"),
        (the_front_end_stays_light, "app/jobs.py", "import worker.contracts", "app/jobs.py:1 imports worker.contracts"),
        (the_shared_part_stands_alone, "worker/selection.py", "from worker.stages import train", "worker.stages.train"),
        (workers_know_nothing_of_the_web, "worker/a.py", "import starlette.responses", "imports starlette.responses"),
        (workers_know_nothing_of_the_web, "worker/a.py", "from app.jobs import submit", "imports app.jobs"),
        (the_contract_needs_little, "worker/contract/ids.py", "import os\nimport numpy", "ids.py:2 imports numpy"),
        (the_contract_needs_little, "worker/contract/ids.py", "from .. import context", "imports worker"),
        (stages_stand_alone, "worker/stages/a.py", "from .train import x", "a.py:1 imports worker.stages.train"),
        (stages_stand_alone, "worker/stages/a.py", "from rq import Queue", "a.py:1 imports rq"),
        (imports_run_one_way, "worker/contract/ids.py", "def f():\n    import worker.selection", "ids.py:2 imports"),
        (imports_run_one_way, "worker/contract/ids.py", "from . import ids", "ids.py:1 imports worker.contract.ids"),
        (images_have_what_they_import, "app/jobs.py", "import matplotlib", "app/jobs.py:1 imports matplotlib"),
        (images_have_what_they_import, "worker/stages/a.py", "import scipy.linalg", "a.py:1 imports scipy.linalg"),
        (there_are_two_code_packages, "shared/a.py", "", "shared/a.py"),
        (there_are_two_code_packages, "setup.py", "", "setup.py"),
        (no_module_is_a_drawer, "app/routes/utils.py", "", "app/routes/utils.py"),
        (no_module_is_endless, "tests/test_app.py", "\n" * 401, "401 lines"),
        (modules_say_what_they_are, "worker/stages/a.py", "x = 1", "worker/stages/a.py"),
        (no_file_is_huge, "docs/picture.svg", " " * 1_500_001, "1,500,001 bytes"),
        (no_file_names_a_home, "docs/a.md", "See\n{}/ada/ragan".format("/home"), "docs/a.md:2 names"),
    ],
)
def test_a_broken_rule_is_named(rule: Rule, name: str, content: str, violation: str, tmp_path: Path) -> None:
    violations = list(rule(drawn(tmp_path, {**SOUND, name: content})))
    assert len(violations) == 1
    assert violation in violations[0]


def test_an_import_behind_another_is_caught_in_the_act(tmp_path: Path) -> None:
    files = {"app/a.py": "def load():\n    import worker.jobs\nload()", "worker/jobs.py": "import tensorflow"}
    tree = drawn(tmp_path, {**SOUND, **files, "tensorflow.py": ""})
    caught = caught_importing(tree, ["app.a"], TENSORFLOW)
    assert re.fullmatch(r"tensorflow is imported by \S*app/a.py:3 \S*app/a.py:2 \S*worker/jobs.py:1\n", caught)
    assert caught_importing(tree, ["app.jobs"], TENSORFLOW) == ""


@given(st.dictionaries(st.sampled_from("abcde"), st.frozensets(st.sampled_from("abcde"))))
def test_a_cycle_is_found_where_there_is_one(graph: dict[str, frozenset[str]]) -> None:
    reached = {(start, end) for start, ends in graph.items() for end in ends}
    for middle in "abcde":
        reached |= {(a, d) for a, b in reached if b == middle for c, d in reached if c == middle}
    cycle = cycle_in(graph)
    assert bool(cycle) == any(start == end for start, end in reached)
    assert all(end in graph[start] for start, end in pairwise(cycle))
    assert cycle[:1] == cycle[-1:]
