import pytest

from worker.contract.errors import StoreUnavailable
from worker.contract.resources import Kind, Status
from worker.contract.store import Store


@pytest.fixture
def family_tree(store, ended, dataset, training, generation):
    """A dataset with two trainings, and three generations of one of them; what else there is must stay."""
    other = ended(Kind.TRAINING, {"dataset": dataset})
    more = [ended(Kind.GENERATION, {"training": training}) for _ in range(2)]
    stranger = ended(Kind.TRAINING, {"dataset": ended(Kind.DATASET, {})})
    return {"dataset": dataset, "training": training, "below": [generation, *more, other], "stranger": stranger}


def left(http):
    return {each["id"] for kind in Kind for each in http.get(f"/v1/{kind.collection}").json()["data"]}


def make_active(http, live, training):
    """A generation of a training that runs."""
    made = http.post("/v1/generations", json={"training": training}).json()["id"]
    live.move(made, 1, Status.RUNNING)
    return made


def test_without_cascade_what_others_need_stays(http, family_tree):
    before = left(http)
    for cascade in ("", "?cascade=false"):
        refused = http.delete(f"/v1/datasets/{family_tree['dataset']}{cascade}")
        assert (refused.status_code, refused.json()["type"]) == (409, "/problems/in-use")
        for needing in [family_tree["training"], *family_tree["below"]]:
            assert needing in refused.json()["detail"]
        assert "cascade=true" in refused.json()["detail"]
    assert left(http) == before


def test_with_cascade_all_that_was_made_from_it_goes_with_it(http, store, family_tree):
    before = left(http)
    assert http.delete(f"/v1/datasets/{family_tree['dataset']}?cascade=true").status_code == 204
    gone = {family_tree["dataset"], family_tree["training"], *family_tree["below"]}
    assert left(http) == before - gone
    assert not any(store.folder(each).exists() for each in gone)


def test_a_training_takes_its_generations_along_and_leaves_its_dataset(http, family_tree):
    assert http.delete(f"/v1/trainings/{family_tree['training']}?cascade=true").status_code == 204
    assert left(http) >= {family_tree["dataset"], family_tree["below"][-1], family_tree["stranger"]}
    assert not {family_tree["training"], *family_tree["below"][:-1]} & left(http)


def test_a_training_takes_its_evaluations_along(http, store, training, generation, evaluation):
    refused = http.delete(f"/v1/trainings/{training}")
    assert (refused.status_code, evaluation in refused.json()["detail"]) == (409, True)
    assert http.delete(f"/v1/trainings/{training}?cascade=true").status_code == 204
    assert not {training, generation, evaluation} & left(http)
    assert not store.folder(evaluation).exists()


def test_a_dataset_takes_its_studies_along(http, dataset, study):
    refused = http.delete(f"/v1/datasets/{dataset}")
    assert (refused.status_code, study in refused.json()["detail"]) == (409, True)
    assert http.delete(f"/v1/datasets/{dataset}?cascade=true").status_code == 204
    assert not {dataset, study} & left(http)


def test_what_nothing_was_made_from_can_be_deleted_either_way(http, generation):
    assert http.delete(f"/v1/generations/{generation}?cascade=true").status_code == 204


def test_nothing_goes_while_something_of_it_is_active(http, live, family_tree):
    active = [make_active(http, live, family_tree["training"]) for _ in range(2)]
    before = left(http)
    refused = http.delete(f"/v1/datasets/{family_tree['dataset']}?cascade=true")
    assert (refused.status_code, refused.json()["type"]) == (409, "/problems/wrong-state")
    for each in active:
        assert f"{each} is running" in refused.json()["detail"]
    assert left(http) == before


def test_a_crash_on_the_way_leaves_nothing_without_what_it_was_made_from(http, store, family_tree, monkeypatch):
    deleted = []
    delete = Store.delete

    def before_the_power_fails(self, resource_id):
        if deleted:
            raise StoreUnavailable
        deleted.append(resource_id)
        delete(self, resource_id)

    monkeypatch.setattr(Store, "delete", before_the_power_fails)
    doomed = {family_tree["dataset"], family_tree["training"], *family_tree["below"]}
    for _ in doomed:
        deleted.clear()
        http.delete(f"/v1/datasets/{family_tree['dataset']}?cascade=true")
        assert deleted
        for resource_id in left(http):
            request = store.read_request(resource_id).request
            for needed in (request.get("dataset"), request.get("training")):
                assert needed is None or store.folder(needed).exists(), resource_id
    assert not doomed & left(http)


def test_what_becomes_active_on_the_way_stays_with_what_it_needs(http, store, family_tree, monkeypatch):
    training = family_tree["training"]
    delete = Store.delete

    def then_it_is_resumed(self, resource_id):
        delete(self, resource_id)
        if resource_id.startswith("gn_") and store.folder(training).exists():
            http.post(f"/v1/trainings/{training}/resume", json={"steps": 50})

    monkeypatch.setattr(Store, "delete", then_it_is_resumed)
    refused = http.delete(f"/v1/datasets/{family_tree['dataset']}?cascade=true")
    assert (refused.status_code, f"{training} is queued" in refused.json()["detail"]) == (409, True)
    assert {family_tree["dataset"], training} <= left(http)


def test_what_somebody_else_deletes_on_the_way_is_no_error(http, store, family_tree, monkeypatch):
    delete = Store.delete
    oldest = family_tree["below"][0]

    def with_another(self, resource_id):
        assert resource_id != oldest
        delete(self, resource_id)
        if store.folder(oldest).exists():
            delete(self, oldest)

    monkeypatch.setattr(Store, "delete", with_another)
    assert http.delete(f"/v1/datasets/{family_tree['dataset']}?cascade=true").status_code == 204
    assert not {family_tree["dataset"], *family_tree["below"]} & left(http)


def test_what_somebody_else_makes_from_it_on_the_way_keeps_it(http, ended, family_tree, monkeypatch):
    delete = Store.delete
    made = []

    def and_another_is_made(self, resource_id):
        delete(self, resource_id)
        if not made:
            made.append(ended(Kind.TRAINING, {"dataset": family_tree["dataset"]}))

    monkeypatch.setattr(Store, "delete", and_another_is_made)
    refused = http.delete(f"/v1/datasets/{family_tree['dataset']}?cascade=true")
    assert (refused.status_code, made[0] in refused.json()["detail"]) == (409, True)
    assert {family_tree["dataset"], made[0]} <= left(http)


def test_what_another_has_made_from_it_is_not_mine_to_delete(as_key, ended):
    dataset = ended(Kind.DATASET, {}, owner="ada")
    training = ended(Kind.TRAINING, {"dataset": dataset}, owner="bob")
    ada, admin = as_key("ada"), as_key("root", "admin")
    refused = ada.delete(f"/v1/datasets/{dataset}?cascade=true")
    assert (refused.status_code, training in refused.json()["detail"]) == (403, True)
    assert ada.get(f"/v1/trainings/{training}").status_code == 200
    assert admin.delete(f"/v1/datasets/{dataset}?cascade=true").status_code == 204
