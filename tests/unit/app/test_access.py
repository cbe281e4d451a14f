import asyncio
import re

import httpx
import pytest

from app.access import Caller, Door, Policy, is_open, policy_for
from app.keys import Keyring, Scope
from worker.contract.queues import QueueName
from worker.contract.resources import Kind

SMALL = {"source": "clinic", "image_size": 16}


def refused(response, status, code):
    """Check that a response is this problem, and return its sentence."""
    body = response.json()
    assert (response.status_code, body["type"]) == (status, f"/problems/{code}"), response.text
    return body["detail"]


def test_nothing_is_done_without_a_key_but_what_needs_none(as_key):
    anybody = as_key()
    for path, methods in anybody.get("/openapi.json").json()["paths"].items():
        for method in methods:
            response = anybody.request(method, re.sub(r"\{\w+\}", "x", path))
            if is_open(path):
                assert response.status_code in (200, 404), path  # 404: no problem type x
            else:
                assert "RAGAN_API_KEY" in refused(response, 401, "key-required")
                assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/docs", "/openapi.json", "/problems/not-found"])
def test_health_and_documentation_are_open(as_key, path):
    assert as_key().get(path).status_code == 200
    assert as_key("ada", "read").get(path).status_code == 200


@pytest.mark.parametrize("path", ["/nowhere", "/v1/nowhere", "/docs/", "/healthz/x", "/problems", "/v1/problems/x"])
def test_what_only_looks_open_is_not(as_key, path):
    assert as_key().get(path).status_code == 401


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer rgn_wrong", "Basic YWRhOng=", "rgn_wrong", "Bearer \u00e4".encode("latin-1")],
)
def test_a_wrong_key_is_none(as_key, keyring, header):
    keyring.create("ada", Scope.ADMIN)
    refused(as_key().get("/v1/version", headers={"Authorization": header}), 401, "key-required")


def test_the_word_bearer_may_be_written_in_any_case(as_key, keyring):
    secret = keyring.create("ada", Scope.READ)
    assert as_key().get("/v1/version", headers={"authorization": f"bEARER  {secret}"}).status_code == 200


def test_without_a_key_not_even_the_body_is_read(as_key):
    response = as_key().post("/v1/datasets", content=b"{bad", headers={"Content-Type": "application/json"})
    refused(response, 401, "key-required")


@pytest.mark.parametrize(("scope", "allowed"), [("read", False), ("submit", True), ("admin", True)])
def test_a_scope_says_what_a_key_may_do(as_key, dataset, scope, allowed):
    client = as_key("ada", scope)
    assert client.get(f"/v1/datasets/{dataset}").status_code == 200
    assert client.head("/v1/version").status_code != 403
    response = client.post("/v1/datasets", json=SMALL)
    if allowed:
        assert response.status_code == 202
    else:
        assert "needs the scope submit" in refused(response, 403, "not-allowed")
        refused(client.delete(f"/v1/datasets/{dataset}"), 403, "not-allowed")


def test_a_revoked_key_stops_at_once(as_key, keyring):
    client = as_key("ada", "read")
    assert client.get("/v1/version").status_code == 200
    keyring.revoke("ada")
    assert "no longer, valid" in refused(client.get("/v1/version"), 401, "key-required")


def test_a_resource_is_its_maker_s_to_change_and_everybody_s_to_read(as_key, work):
    ada, ben, root = as_key("ada"), as_key("ben"), as_key("root", "admin")
    made = ada.post("/v1/datasets", json=SMALL).json()
    address = made["links"]["self"]
    assert made["owner"] == "ada"
    assert ben.get(address).json()["owner"] == "ada"
    for change in (ben.post(f"{address}/cancel"), ben.delete(address)):
        assert "made by the key 'ada'" in refused(change, 403, "not-allowed")
    work(QueueName.PREPARE)
    assert ben.get(f"{address}/items.csv").status_code == 200
    assert root.post(f"{address}/cancel").status_code == 409
    assert ada.delete(address).status_code == 204


def test_a_training_is_resumed_by_its_maker_or_an_admin(as_key, store, training):
    record = store.read_request(training)
    store.write_request(record.model_copy(update={"owner": "ada"}))
    address = f"/v1/trainings/{training}"
    refused(as_key("ben").post(f"{address}/resume", json={"steps": 40}), 403, "not-allowed")
    resumed = as_key("root", "admin").post(f"{address}/resume", json={"steps": 40})
    assert (resumed.status_code, resumed.json()["owner"]) == (202, "ada")
    assert as_key("ada").post(f"{address}/cancel").status_code == 202


def test_what_was_made_without_a_key_is_an_admin_s(as_key, dataset):
    assert "made without a key" in refused(as_key("ada").delete(f"/v1/datasets/{dataset}"), 403, "not-allowed")
    assert as_key("root", "admin").delete(f"/v1/datasets/{dataset}").status_code == 204


def test_nobody_deletes_with_their_own_what_others_made_from_it(as_key, ended):
    mine = ended(Kind.DATASET, {"source": "clinic", "image_size": 16}, owner="ada")
    theirs = ended(Kind.TRAINING, {"dataset": mine}, owner="ben")
    ada = as_key("ada")
    assert theirs in refused(ada.delete(f"/v1/datasets/{mine}?cascade=true"), 403, "not-allowed")
    assert ada.get(f"/v1/trainings/{theirs}").status_code == 200
    assert as_key("root", "admin").delete(f"/v1/datasets/{mine}?cascade=true").status_code == 204


def test_what_there_is_not_is_nobody_s(as_key):
    assert as_key("ada").delete(f"/v1/datasets/{Kind.DATASET.new_id()}").status_code == 404


def test_a_file_of_keys_that_cannot_be_trusted_opens_nothing(as_key, keyring, settings):
    client = as_key("ada", "admin")
    (settings.store / "keys.json").write_text("damaged")
    refused(client.get("/v1/version"), 503, "keys-unusable")
    (settings.store / "keys.json").unlink()
    refused(client.get("/v1/version"), 401, "key-required")


def test_the_documentation_tells_of_keys(as_key):
    schema = as_key().get("/openapi.json").json()
    assert schema["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    assert "security" not in schema["paths"]["/healthz"]["get"]
    post, get = (schema["paths"]["/v1/trainings"][method] for method in ("post", "get"))
    assert post["security"] == get["security"] == [{"apiKey": []}]
    assert {"401", "403", "429"} <= post["responses"].keys()
    assert {"401", "403", "429"} & get["responses"].keys() == {"401", "403"}
    assert "429" not in schema["paths"]["/v1/trainings/{resource_id}/cancel"]["post"]["responses"]


@pytest.mark.parametrize(
    ("host", "policy"),
    [
        ("127.0.0.1", Policy.IF_THERE_IS_A_FILE),
        ("127.8.8.8", Policy.IF_THERE_IS_A_FILE),
        ("::1", Policy.IF_THERE_IS_A_FILE),
        ("localhost", Policy.IF_THERE_IS_A_FILE),
        ("0.0.0.0", Policy.REQUIRED),  # noqa: S104 - not bound
        ("::", Policy.REQUIRED),
        ("10.0.0.1", Policy.REQUIRED),
        ("localhost.example.org", Policy.REQUIRED),
    ],
)
def test_keys_are_needed_where_others_can_reach_the_service(host, policy):
    assert policy_for(host, insecure=False) is policy
    assert policy_for(host, insecure=True) is Policy.SWITCHED_OFF


@pytest.fixture
def knock(tmp_path):
    """Asks, without a key, a front end of this policy with its keys in tmp_path; returns the status and the caller."""
    callers = []

    async def inside(scope, _receive, send):
        callers.append(scope["state"]["caller"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    doors = {policy: Door(inside, Keyring(tmp_path / "keys.json"), policy) for policy in Policy}

    async def ask(policy):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(doors[policy]), base_url="http://service") as http:
            return (await http.get("/v1/version")).status_code

    def knocked(policy):
        status = asyncio.run(ask(policy))
        return status, callers.pop() if status == 200 else None

    return knocked


def test_a_service_for_one_machine_is_open_until_there_is_a_key_and_then_for_good_not(knock, tmp_path):
    nobody = Caller(None, Scope.ADMIN)
    assert knock(Policy.IF_THERE_IS_A_FILE) == (200, nobody)
    Keyring(tmp_path / "keys.json").create("ada", Scope.READ)
    assert knock(Policy.IF_THERE_IS_A_FILE) == (401, None)
    assert knock(Policy.SWITCHED_OFF) == (200, nobody)
    (tmp_path / "keys.json").unlink()
    assert knock(Policy.IF_THERE_IS_A_FILE) == (401, None)
    assert knock(Policy.REQUIRED) == (401, None)


def test_to_revoke_the_last_key_does_not_open_the_door(knock, tmp_path):
    keyring = Keyring(tmp_path / "keys.json")
    keyring.create("ada", Scope.READ)
    keyring.revoke("ada")
    assert knock(Policy.IF_THERE_IS_A_FILE) == (401, None)
