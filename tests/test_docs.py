"""What the documents say is so: commands, settings, families, routes, examples, links."""

import json
import re
import tomllib
from collections.abc import Mapping
from importlib import invalidate_caches
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from pydantic import BaseModel

from app.cli import main
from app.devices import WorkerInfo
from app.errors import ProblemDetails, error_classes, status_of
from app.main import create_app
from app.reading_results import ReadingResults
from app.routes.blind_reading import ReaderView
from documents import API, CONTAINERS, DOCUMENTS, README, ROOT, Document, code, ragan_commands
from worker.contract import errors
from worker.contract.errors import InvalidRequest
from worker.contract.readings import Answer, Enrolment
from worker.contract.requests import (
    ClassChoice,
    ClassDraw,
    DatasetRequest,
    EvaluationRequest,
    FeatureKind,
    GenerationRequest,
    ModelChoice,
    ReaderStudyRequest,
    TrackedMetric,
    TrainingRequest,
    Where,
)
from worker.contract.resources import Progress, Resource
from worker.contract.results import (
    DatasetResult,
    EvaluationResult,
    FamilyDescription,
    GenerationResult,
    ReaderStudyResult,
    StudyForecast,
    StudyResult,
    TrainingForecast,
    TrainingResult,
)
from worker.contract.settings import Settings
from worker.contract.study_requests import StudyClassifier, StudyGenerator, StudyRequest
from worker.models.base import CommonHyperparameters
from worker.sources.description import DESCRIPTION_FILE, Description
from worker.sources.registry import SourceCatalog, SourceSummary
from worker.sources.table_description import TableDescription, ValueMaps

SHAPE = "One shape for everything that takes time"
STUDY, READER = "rs_01m81xvmt8kk4p7w235fj5vqtq", "rd_afa7e958984f7914cd4b4d160cbcb73b"
BODIES: Mapping[str, type[BaseModel]] = {
    "/v1/datasets": DatasetRequest,
    "/v1/trainings": TrainingRequest,
    "/v1/generations": GenerationRequest,
    "/v1/evaluations": EvaluationRequest,
    "/v1/reader-studies": ReaderStudyRequest,
    f"/v1/reader-studies/{STUDY}/readers": Enrolment,
    f"PUT /v1/reader-studies/{STUDY}/readers/{READER}/answers/0": Answer,
    "/v1/studies": StudyRequest,
}
FIELDS: Mapping[tuple[str, str], type[BaseModel]] = {
    ("Datasets", "field"): DatasetRequest,
    ("Datasets", "field of `where`"): Where,
    ("Trainings", "field"): TrainingRequest,
    ("Trainings", "field of `model`"): ModelChoice,
    ("Trainings", "field of `classes`"): ClassChoice,
    ("Generations", "field"): GenerationRequest,
    ("Balancing a dataset", "field of a class"): ClassDraw,
    ("Evaluations", "field"): EvaluationRequest,
    ("Reader studies", "field"): ReaderStudyRequest,
    ("Studies", "field"): StudyRequest,
    ("Studies", "field of `generator`"): StudyGenerator,
    ("Studies", "field of `classifier`"): StudyClassifier,
    ("Models", "hyper-parameter"): CommonHyperparameters,
}
"""Whose fields a table lists, by section and header."""
EXAMPLES: Mapping[str, type[BaseModel]] = {
    SHAPE: Resource,
    "Errors": ProblemDetails,
    "Sources": SourceSummary,
    "Datasets": DatasetResult,
    "Models": FamilyDescription,
    "Trainings": TrainingResult,
    "What a training would take": TrainingForecast,
    "Generations": GenerationResult,
    "Evaluations": EvaluationResult,
    "Reader studies": ReaderStudyResult,
    "Blind reading": ReaderView,
    "How well readers could tell": ReadingResults,
    "Studies": StudyResult,
    "The plan of a study": StudyForecast,
    "System": WorkerInfo,
}
"""What the one JSON example of a section is an example of."""
NEVER_SENT = {"ragan-error", "duplicate-family", "image-unreadable", "redis-missing"}
"""Problems that end a process or are dealt with inside one, so that no client meets them."""

every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)


@every_document
def test_every_link_leads_somewhere(document: Document) -> None:
    for link in document.links:
        if re.match(r"https?://", link):
            continue
        file, _, anchor = link.partition("#")
        target = (document.path.parent / file).resolve() if file else document.path
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        if anchor:
            assert anchor in Document(target).anchors, link


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(each, id=f"{document.name}: {' '.join(each)}")
        for document in DOCUMENTS
        for each in ragan_commands(document)
    ],
)
def test_every_command_line_is_understood(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    if "--source" in arguments:
        Path(arguments[arguments.index("--source") + 1]).mkdir()
    name, *rest = arguments
    assert name in main.commands
    main.commands[name].make_context(name, rest).close()


def test_every_command_is_shown_somewhere() -> None:
    shown = {arguments[0] for document in DOCUMENTS for arguments in ragan_commands(document)}
    assert shown >= main.commands.keys()


def test_the_table_of_settings_is_that_of_the_code() -> None:
    (table,) = README.tables("environment variable")
    expected = []
    for name, field in Settings.model_fields.items():
        variable = field.validation_alias or f"RAGAN_{name.upper()}"
        default = "unset" if field.default is None else f"`{field.default}`"
        expected.append([f"`{variable}`", default, field.description])
    assert table.rows == expected


def test_the_table_of_families_is_that_of_the_registry() -> None:
    from worker.models.publish import describe
    from worker.models.registry import discover

    built_in = [each for each in discover().values() if type(each).__module__.startswith("worker.models.")]
    expected = set()
    for family in map(describe, built_in):
        generator, discriminator = family.parameters["generator"], family.parameters["discriminator"]
        sizes = ", ".join(map(str, family.image_sizes))
        expected.add((f"`{family.family}`", sizes, f"{generator:,} and {discriminator:,}"))
    (table,) = README.tables("family")
    assert set(map(tuple, table.rows)) == expected
    assert len(table.rows) == len(expected)


def test_the_family_of_the_readme_can_be_installed_and_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (module,) = README.blocks("python", "Add a family")
    (pyproject,) = README.blocks("toml", "Add a family")
    project = tomllib.loads(pyproject.text)["project"]
    install(tmp_path, module.text, project)
    monkeypatch.syspath_prepend(tmp_path)
    invalidate_caches()

    from trainers import trainer_of
    from worker.draws import latent_points
    from worker.models.publish import describe
    from worker.models.registry import discover

    family = discover()["dense28"]
    assert describe(family).parameters.keys() == {"generator", "discriminator"}
    with pytest.raises(InvalidRequest, match="depth"):
        family.configure("default", {"depth": 9})
    chosen = family.configure("reference", {"width": 0.02, "depth": 1, "ema_decay": 0.9})
    trainer = trainer_of(family, chosen)
    (metrics,) = trainer.advance(1)
    assert np.isfinite(list(metrics.values())).all()
    images = trainer.sample(latent_points(0, 0, 3, family.latent_size))
    assert images.shape == (3, 28, 28)


def install(site: Path, module: str, project: Mapping[str, Any]) -> None:
    """Lay out a distribution of one module as an installer would."""
    (target,) = project["entry-points"]["ragan.models"].values()
    (site / f"{target.partition(':')[0]}.py").write_text(module)
    metadata = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = [f"{name} = {value}\n" for name, value in project["entry-points"]["ragan.models"].items()]
    (metadata / "entry_points.txt").write_text("[ragan.models]\n" + "".join(lines))


def test_the_readme_runs_containers_as_their_own_page_does() -> None:
    (block,) = README.blocks("sh", "On a GPU host")
    for command in block.text.replace("\\\n", "\\").splitlines():
        assert command.replace("\\", "\\\n") in CONTAINERS.text


def test_every_route_is_documented_and_every_documented_route_exists(tmp_path: Path) -> None:
    settings = Settings(REDIS_URL="redis://nowhere", store=tmp_path, sources=tmp_path)
    paths = create_app(settings).openapi()["paths"]
    routes = {(method.upper(), path) for path, methods in paths.items() for method in methods}
    documented = set()
    for method, path in re.findall(r"\b(GET|HEAD|POST|PUT|PATCH|DELETE) (/[^\s`?]*)", API.text):
        matching = {route for route in routes if route[0] == method and re.fullmatch(as_pattern(route[1]), path)}
        assert len(matching) == 1, f"{method} {path} is documented and matches {matching or 'nothing'}"
        documented |= matching
    assert routes - documented == set()


def as_pattern(path: str) -> str:
    return re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))


def test_problems_have_the_status_that_is_documented() -> None:
    answered, of_jobs = API.tables("type, below `/problems/`")
    known = error_classes()
    for (name,), status in ((code(row[0]), row[1]) for row in answered.rows):
        assert status_of(known[name]) == int(status), name
    documented = {name for table in (answered, of_jobs) for row in table.rows for name in code(row[0])}
    raised = {name for name, error in known.items() if error.__module__ == errors.__name__}
    assert documented == raised - NEVER_SENT


@pytest.mark.parametrize(("place", "model"), FIELDS.items(), ids=map(" ".join, FIELDS))
def test_requests_have_the_fields_and_defaults_that_are_documented(
    place: tuple[str, str], model: type[BaseModel]
) -> None:
    section, header = place
    (table,) = API.tables(header, section)
    documented = {code(name)[0]: default for name, default, _ in table.rows}
    assert list(documented) == list(model.model_fields)
    required = {name: "x" for name, default in documented.items() if default == "required"}
    implied = model.model_validate(required)
    for name, default in documented.items():
        if default != "required":
            stated = json.loads(default.strip("`"))
            assert model.model_validate(required | {name: stated}) == implied, name


def test_the_features_of_an_evaluation_are_those_that_are_documented() -> None:
    (table,) = API.tables("`features`", "Features")
    documented = [code(row[0])[0] for row in table.rows]
    assert documented == list(get_args(FeatureKind))
    default = EvaluationRequest.model_fields["features"].default
    assert [name for name, row in zip(documented, table.rows, strict=True) if "(default)" in row[0]] == [default]


def test_the_metrics_of_evaluations_on_the_way_are_those_that_are_documented() -> None:
    from worker.measurement import TRACKED

    (table,) = API.tables("`evaluate_metrics`", "Evaluations on the way")
    documented = {name: code(whose)[-1] for names, whose in table.rows for name in code(names)}
    assert documented == {name: metric for name, (metric, _) in TRACKED.items()}
    assert documented.keys() == set(get_args(TrackedMetric))


def test_a_resource_has_the_fields_that_are_documented() -> None:
    (table,) = API.tables("field", SHAPE)
    documented = [name for row in table.rows for name in code(row[0])]
    assert sorted(documented) == sorted(Resource.model_fields)


@pytest.mark.parametrize(("section", "model"), EXAMPLES.items(), ids=EXAMPLES)
def test_answers_look_as_documented(section: str, model: type[BaseModel]) -> None:
    (example,) = API.blocks("json", section)
    answer = json.loads(example.text)
    assert answer.keys() == model.model_fields.keys()
    model.model_validate(answer)
    if section == SHAPE:
        assert answer["progress"].keys() == Progress.model_fields.keys()


def test_requests_that_are_shown_would_be_accepted() -> None:
    shown = []
    for block in API.blocks("http"):
        head, _, body = block.text.partition("\n\n")
        if body:
            shown.append((head.splitlines()[0].removeprefix("POST "), body))
    assert dict(shown).keys() == BODIES.keys()
    for path, body in shown:
        BODIES[path].model_validate_json(body)


def test_a_table_as_it_is_shown_is_read(tmp_path: Path) -> None:
    (description,), (table,) = (README.blocks(language, "Your own images") for language in ("toml", "csv"))
    folder = tmp_path / "clinic"
    (folder / "images" / "a").mkdir(parents=True)
    (folder / "images" / "a" / "1.png").touch()
    (folder / DESCRIPTION_FILE).write_text(description.text)
    (folder / "metadata.csv").write_text(table.text)
    summary = SourceCatalog(tmp_path).summary("clinic")
    assert summary.problem is None
    assert (summary.layout, summary.images_present) == ("table", 1)
    assert summary.fields["label"] == {"Edema": 1, "Effusion": 1}
    assert summary.fields["sex"] == {"M": 1}


def test_what_a_description_may_say_of_a_table_is_documented() -> None:
    (table,) = API.tables("key", "Sources")
    keys = [code(row[0]) for row in table.rows]
    assert {names[0].partition(".")[0] for names in keys} | Description.model_fields.keys() == set(
        TableDescription.model_fields
    )
    values = [name for names in keys for name in names if name.startswith("values.")]
    assert values == [f"values.{field}" for field in ValueMaps.model_fields]
