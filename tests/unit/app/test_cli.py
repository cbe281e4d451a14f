import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from app.cli import main
from ended import checkpoint_file, write_reader_study
from worker.contract.checkpoints import LearntClasses
from worker.contract.queues import QueueName
from worker.contract.results import BestCheckpoint, StudyForecast
from worker.contract.study_requests import StudyRequest


@pytest.fixture
def ragan(url, monkeypatch):
    """Runs `ragan …` in this process against a service that really listens."""
    monkeypatch.setenv("RAGAN_URL", url)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_help_needs_nothing_heavy():
    program = (
        "import sys; from app.cli import main; main(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    )
    output = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    for module in ("fastapi", "httpx", "numpy", "pydantic", "redis", "rich", "tensorflow"):
        assert f"'{module}'" not in output


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_explains_itself(command):
    result = CliRunner().invoke(main, [command, "--help"])
    assert result.exit_code == 0
    assert main.commands[command].help.splitlines()[0] in " ".join(result.output.split())


def test_lists_sources_and_models(ragan, family):
    assert "clinic" in ragan("sources").output
    assert "no layout" in ragan("sources").output
    assert "tiny16" in ragan("models").output
    assert json.loads(ragan("models", "--json").output)[0]["family"] == "tiny16"


def test_shows_what_would_be_selected(ragan):
    output = ragan("select", "clinic", "--view", "AP", "--label", "Nodule", "--age", 20, 70, "--dry-run").output
    assert "impossible age" in output
    assert "Nodule" in output


def test_selects_then_shows_status_then_cancels(ragan, work):
    queued = json.loads(ragan("select", "clinic", "--image-size", 16, "--no-wait", "--json").stdout)
    assert queued["status"] == "queued"
    assert "queued" in ragan("status", queued["id"]).output
    work(QueueName.PREPARE)
    waited = ragan("status", queued["id"], "--wait", "--json")
    assert json.loads(waited.stdout)["status"] == "succeeded"
    refused = ragan("cancel", queued["id"])
    assert (refused.exit_code, "nothing to cancel" in refused.stderr) == (1, True)


def test_trains_and_generates_by_the_same_words_as_the_contract(ragan, family, dataset, training):
    arguments = ["--family", "tiny16", "--set", "width=0.5", "--steps", 3, "--devices", 1, "--no-wait", "--json"]
    request = json.loads(ragan("train", dataset, *arguments).stdout)["request"]
    assert request["model"]["hyperparameters"] == {"width": 0.5, "dropout": 0.0}
    assert (request["steps"], request["devices"], request["evaluate_every"]) == (3, 1, None)
    assert request["classical_augmentation"] is None
    more = ["--evaluate-every", 2, "--classical-augmentation", "chest"]
    request = json.loads(ragan("train", dataset, *arguments, *more).stdout)["request"]
    assert (request["evaluate_every"], request["classical_augmentation"]) == (2, "chest")
    request = json.loads(ragan("generate", training, "--count", 5, "--no-wait", "--json").stdout)["request"]
    assert (request["count"], request["checkpoint"]) == (5, 30)
    assert json.loads(ragan("resume", training, "--steps", 40, "--no-wait", "--json").stdout)["status"] == "queued"


def test_asks_for_classes_and_labels(ragan, family, store, dataset, training):

    def classes(*arguments):
        done = ragan("train", dataset, "--family", "tiny16", *arguments, "--no-wait", "--json")
        return json.loads(done.stdout)["request"]["classes"]

    assert classes() is None
    named = classes("--classes", "Mass", "--classes", "No Finding")
    assert named == {"by": "labels", "only": ["Mass", "No Finding"]}
    assert classes("--by", "view") == {"by": "view", "only": None}
    learnt = LearntClasses(by="labels", names=("Mass", "Nodule"))
    for step in (20, 30):
        name, content = checkpoint_file(step, dataset, learnt)
        store.publish_bytes(content, training, name)
    drawn = ragan("generate", training, "--label", "Nodule", "--label", "Mass", "--no-wait", "--json")
    assert json.loads(drawn.stdout)["request"]["labels"] == ["Nodule", "Mass"]


def test_balances_a_dataset_by_a_training_of_each_class(ragan, monkeypatch):
    asked = []

    def generate(_, training, **request):
        asked.append((training, request["balance"], request["trainings"], "count" in request))
        return {"id": "gn_1", "kind": "generation", "status": "queued", "links": {}}

    monkeypatch.setattr("app.client.Client.generate", generate)
    arguments = ["generate", "--balance", "ds_1", "--training", "A=B=tr_1", "--training", "C=tr_2", "--no-wait"]
    assert ragan(*arguments, "--json").exit_code == 0
    assert asked == [(None, "ds_1", {"A=B": "tr_1", "C": "tr_2"}, False)]
    assert "is not CLASS=ID" in ragan("generate", "--balance", "ds_1", "--training", "tr_1").output


def test_takes_a_family_with_labels_only_if_it_is_named(ragan, family, store, dataset):
    store.publish_family(family.model_copy(update={"family": "a-labelled-one", "takes_labels": True}))
    queued = json.loads(ragan("train", dataset, "--no-wait", "--json").stdout)
    assert queued["request"]["model"]["family"] == "tiny16"


def test_shows_what_a_training_would_take(ragan, family, dataset, forecast, monkeypatch):
    async def foreseen(request, *_, **__):
        return forecast.model_copy(update={"steps": request.steps})

    monkeypatch.setattr("app.routes.trainings.forecast", foreseen)
    arguments = ["train", dataset, "--family", "tiny16", "--steps", 1234, "--dry-run"]
    output = ragan(*arguments).output
    for shown in ("1,234 steps", "parameters, generator", "0.5 GFLOP", "2.0 MiB", "toom_cook"):
        assert shown in output
    assert json.loads(ragan(*arguments, "--json").stdout)["memory_bytes"]["total"] == 2 * 2**20


def test_evaluates_by_the_same_words_as_the_contract(ragan, training):
    chosen = {"checkpoint": 20, "count": 50, "reference": "train", "features": "classifier", "seed": 3}
    arguments = [argument for field, value in chosen.items() for argument in (f"--{field}", value)]
    request = json.loads(ragan("evaluate", training, *arguments, "--no-wait", "--json").stdout)["request"]
    assert request == {"training": training} | chosen


def test_studies_by_the_same_words_as_the_contract(ragan, family, dataset):
    arguments = ["--folds", 3, "--arms", "real_oversampled,synthetic", "--amounts", "0,50,100", "--set", "width=0.5"]
    arguments += ["--steps", 20, "--epochs", 3, "--optimizer", "adam", "--patience", 2, "--classical", "paper"]
    arguments += ["--classes", "Mass", "--classes", "No Finding", "--seed", 7]
    request = json.loads(ragan("study", dataset, *arguments, "--no-wait", "--json").stdout)["request"]
    assert (request["folds"], request["amounts"], request["seed"]) == (3, [0, 50, 100], 7)
    assert request["arms"] == ["real", "real_oversampled", "synthetic"]
    assert request["classes"] == {"by": "labels", "only": ["Mass", "No Finding"]}
    assert request["generator"]["model"]["hyperparameters"] == {"width": 0.5, "dropout": 0.0}
    assert (request["generator"]["steps"], request["classical"]) == (20, "paper")
    assert request["classifier"] | {"epochs": 3, "optimizer": "adam", "patience": 2} == request["classifier"]


def test_a_study_has_the_defaults_of_the_contract(ragan, family, dataset):
    request = json.loads(ragan("study", dataset, "--no-wait", "--json").stdout)["request"]
    assert StudyRequest(dataset=dataset, generator={"model": request["generator"]["model"]}) == StudyRequest(**request)


def test_shows_what_a_study_would_take(ragan, family, dataset, monkeypatch):
    async def foreseen(*_, **__):
        part = {"Mass": 1234, "Nodule": 56}
        fold = {"train": part, "validation": part, "test": part}
        counted = {"generators": 2, "generator_steps": 4000, "synthetic_images": 10, "classifiers": 18, "bytes": 2**21}
        return StudyForecast(classes=("Mass", "Nodule"), folds=(fold,), **counted)

    monkeypatch.setattr("app.routes.studies.forecast", foreseen)
    output = ragan("study", dataset, "--dry-run").output
    for shown in ("2 generators, 4,000 steps", "18 classifiers, 2.0 MiB", "1,234", "validation", "Nodule"):
        assert shown in output


def test_shows_a_study_in_words_with_its_caveats(ragan, study):
    output = ragan("status", study).output
    for shown in ("40 images of 30 patients", "0.750", "0.600 to 0.875", "-0.025", "real_synthetic less real"):
        assert shown in output
    assert "1 classifiers had not been taught" in output
    assert "• Few patients" in output


def test_saves_the_curve_and_the_tables_of_a_study(ragan, family, study, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr("app.client.Client.study", lambda client, *_, **__: client.get(study))
    result = ragan("study", dataset, "--output", tmp_path / "made")
    assert result.exit_code == 0, result.output
    tables = {f"{name}.csv" for name in ("arms", "comparisons", "curve", "predictions")}
    assert {file.name for file in (tmp_path / "made").iterdir()} == {"curve.png", "curve.svg", *tables}


@pytest.mark.parametrize("verb", ["generate", "evaluate"])
@pytest.mark.parametrize(("chosen", "step"), [([], 30), (["--checkpoint", "best"], 20), (["--checkpoint", "20"], 20)])
def test_draws_from_a_step_the_newest_or_the_best(ragan, store, dataset, training, verb, chosen, step):
    best = BestCheckpoint(step=20, metric="frechet_distance", value=3.25)
    for kept in (20, 30):
        name, content = checkpoint_file(kept, dataset, best=best)
        store.publish_bytes(content, training, name)
    queued = json.loads(ragan(verb, training, *chosen, "--no-wait", "--json").stdout)
    assert queued["request"]["checkpoint"] == step


def test_shows_an_evaluation_in_words_with_its_caveats(ragan, evaluation):
    output = ragan("status", evaluation).output
    for shown in (
        "60 synthetic images to 60 real ones",
        "Fréchet distance",
        "75.47",
        "81.25",
        "3.948",
        "0 is best",
        "copies",
    ):
        assert shown in output
    assert "• 60 images are too few" in output


def test_shows_what_each_class_comes_to(ragan, store, evaluation):
    manifest = store.read_manifest(evaluation)
    numbers = manifest.result["metrics"]
    far = {"frechet_distance": numbers["frechet_distance"] | {"value": {"distance": 23.75}}}
    subgroups = {"Mass": numbers, "[red]Nodule": numbers | far}
    store.write_manifest(manifest.model_copy(update={"result": manifest.result | {"subgroups": subgroups}}))
    of_all, of_mass, of_nodules = re.split(r"Of .+ alone", ragan("status", evaluation).output)
    assert "75.47" in of_all
    assert "75.47" in of_mass
    assert "23.75" in of_nodules
    assert "Of [red]Nodule alone" in ragan("status", evaluation).output
    for part in (of_mass, of_nodules):
        assert "precision" in part
        assert "recall" in part


@pytest.mark.parametrize("searched", [True, False])
def test_saves_the_pictures_and_the_card_of_an_evaluation(ragan, store, evaluation, tmp_path, monkeypatch, searched):
    manifest = store.read_manifest(evaluation)
    if not searched:
        store.write_manifest(manifest.model_copy(update={"result": manifest.result | {"memorisation": None}}))
    monkeypatch.setattr("app.client.Client.evaluate", lambda client, *_, **__: client.get(evaluation))
    folder = tmp_path / "made" / "here"
    result = ragan("evaluate", "tr_x", "--output", folder)
    assert result.exit_code == 0, result.output
    names = {"grid.png", "card.html"} | ({"nearest.png"} if searched else set())
    assert {file.name for file in folder.iterdir()} == names
    for name in names:
        assert f"saved {folder / name}" in result.stderr


def test_a_failed_job_is_a_failed_command(ragan, work):
    queued = json.loads(ragan("select", "clinic", "--age", 119, 120, "--no-wait", "--json").stdout)
    work(QueueName.PREPARE)
    result = ragan("status", queued["id"], "--wait")
    assert (result.exit_code, "failed" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["select", "clinc"], 1, "Did you mean 'clinic'?"),
        (["status", "nonsense"], 1, "not an id"),
        (["train", "ds_x", "--set", "width"], 2, "NAME=VALUE"),
        (["generate", "tr_x", "--no-wait", "--output", "x.zip"], 2, "--no-wait"),
        (["evaluate", "tr_x", "--no-wait", "--output", "x"], 2, "--no-wait"),
        (["evaluate", "tr_x", "--reference", "all"], 2, "validation"),
        (["evaluate", "tr_x", "--checkpoint", "newest"], 2, "name a step, or take latest or best"),
        (["reader-study", "tr_x", "--no-wait", "--reader", "Ada"], 2, "--no-wait"),
        (["readings", "rs_x"], 1, "not an id"),
        (["study", "ds_x", "--no-wait", "--output", "x"], 2, "--no-wait"),
        (["study", "ds_x", "--folds", "few"], 2, "name a number, or take none"),
        (["study", "ds_x", "--amounts", "0,many"], 2, "as in 0,500,1000"),
        (["worker", "--queue", "nonsense"], 2, "prepare"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(ragan, arguments, code, sentence):
    result = ragan(*arguments)
    assert (result.exit_code, sentence in result.stderr) == (code, True), result.stderr
    assert "Traceback" not in result.stderr


def test_says_that_nobody_answers(monkeypatch):
    monkeypatch.setenv("RAGAN_URL", "http://127.0.0.1:9")
    result = CliRunner().invoke(main, ["sources"])
    assert (result.exit_code, "ragan up" in result.stderr) == (3, True)


def test_a_setting_that_cannot_be_is_named(monkeypatch):
    monkeypatch.setenv("RAGAN_CPU_DEVICES", "many")
    result = CliRunner().invoke(main, ["sources"])
    assert (result.exit_code, "RAGAN_CPU_DEVICES" in result.stderr) == (1, True)


@pytest.mark.parametrize("command", ["api", "worker"])
def test_what_needs_redis_says_so(command, monkeypatch, tmp_path):
    monkeypatch.delenv("REDIS_URL", raising=False)
    arguments = [sys.executable, "-m", "app", command, *(["--queue", "train"] if command == "worker" else [])]
    result = subprocess.run(arguments, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (result.returncode, "REDIS_URL" in result.stderr) == (1, True)
    assert "Traceback" not in result.stderr


def test_prepares_a_reader_study_by_the_same_words_as_the_contract(ragan, training):
    chosen = {"checkpoint": 20, "count": 20, "reference": "validation", "seed": 3}
    arguments = [argument for field, value in chosen.items() for argument in (f"--{field}", value)]
    request = json.loads(ragan("reader-study", training, *arguments, "--no-wait", "--json").stdout)["request"]
    assert request == {"training": training, "tasks": ["origin"]} | chosen
    refused = ragan("reader-study", training, "--task", "origin", "--task", "class", "--no-wait")
    assert (refused.exit_code, "does not tell classes apart" in refused.stderr) == (1, True)


def test_enrols_readers_and_shows_where_they_read(ragan, http, reader_study, monkeypatch):
    monkeypatch.setattr("app.client.Client.reader_study", lambda client, *_, **__: client.get(reader_study))
    result = ragan("reader-study", "tr_x", "--reader", "Ada", "--reader", "Ben")
    assert result.exit_code == 0, result.output
    for reader in http.get(f"/v1/reader-studies/{reader_study}/readers").json()["data"]:
        address = f"/v1/reader-studies/{reader_study}/readers/{reader['id']}"
        assert f"{reader['name']} reads at {address}" in result.stdout


@pytest.mark.parametrize("classes", [(), ("Mass", "Nodule", "No Finding")])
def test_shows_and_saves_how_well_readers_could_tell(ragan, http, store, training, classes, tmp_path):
    study, _ = write_reader_study(store, training, classes=classes)
    assert "Nobody has answered every image yet" in ragan("readings", study).output
    reader = http.post(f"/v1/reader-studies/{study}/readers", json={"name": "[bold]Ada"}).json()
    while reader["next"]:
        answer = {"origin": "real", "confidence": 3, "seconds": 2.5} | ({"class": "Mass"} if classes else {})
        reader = http.put(reader["next"]["answer"], json=answer).json()
    result = ragan("readings", study, "--output", tmp_path / "here")
    for shown in ("[bold]Ada", "together", "origin (synthetic)", "0.50 (0.30 to 0.70)", "1 readers have finished"):
        assert shown in result.output
    assert json.loads(ragan("readings", study, "--json").stdout)["finished"] == 1
    assert json.loads((tmp_path / "here" / "results.json").read_text())["finished"] == 1
    assert len((tmp_path / "here" / "results.csv").read_text().splitlines()) == 21
