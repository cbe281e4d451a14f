import asyncio

import httpx
import pytest

from app.access import ANYBODY, Caller
from app.foreign_pages import ForeignPages
from app.keys import Scope

NOBODY_S = "ds_00000000000000000000000000"


def refused(response, status, code):
    """Check that a response is this problem, and return its sentence."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["type"] == f"/problems/{code}"
    return response.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1", "127.0.0.1:1", "127.8.8.8", "[::1]:8000"])
def test_without_keys_the_machine_s_own_names_are_served(http, host):
    assert http.get("/v1/version", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "rebound.example:8000",
        "127.0.0.1.example",
        "localhost.example",
        "10.0.0.1",
        "[::1",
        "[::2]",
        "",
    ],
)
@pytest.mark.parametrize(("method", "path"), [("GET", "/v1/version"), ("GET", "/docs"), ("DELETE", "/v1/datasets/x")])
def test_without_keys_a_name_that_a_page_has_led_here_is_not(http, host, method, path):
    detail = refused(http.request(method, path, headers={"Host": host}), 421, "wrong-host")
    assert repr(host) in detail
    assert "ragan keys create" in detail


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "http://127.0.0.1"},
        {"Origin": "http://localhost:3000"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://{host}"},
    ],
)
def test_without_keys_another_site_s_page_changes_nothing(http, headers):
    sent = {name: value.format(host=http.base_url.netloc.decode()) for name, value in headers.items()}
    for method, path in (("POST", f"/v1/datasets/{NOBODY_S}/cancel"), ("DELETE", f"/v1/datasets/{NOBODY_S}")):
        assert "page" in refused(http.request(method, path, headers=sent), 403, "foreign-page")
    assert http.get("/v1/version", headers=sent).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "http://{host}"},
        {"Sec-Fetch-Site": "same-origin", "Origin": "http://{host}"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_without_keys_programs_and_pages_of_the_service_may(http, headers):
    sent = {name: value.format(host=http.base_url.netloc.decode()) for name, value in headers.items()}
    assert http.delete(f"/v1/datasets/{NOBODY_S}", headers=sent).status_code == 404


def test_a_refusal_has_what_every_answer_has(http):
    response = http.get("/v1/version", headers={"Host": "rebound.example", "X-Request-ID": "mine"})
    assert response.headers["x-request-id"] == "mine"
    assert response.headers["x-content-type-options"] == "nosniff"


def test_with_a_key_any_name_and_any_origin_will_do(as_key):
    foreign = {"Host": "ragan.example", "Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"}
    assert as_key("ada").delete(f"/v1/datasets/{NOBODY_S}", headers=foreign).status_code == 404
    assert as_key().get("/v1/version", headers=foreign).status_code == 401
    assert as_key().get("/healthz", headers=foreign).status_code == 200


@pytest.mark.parametrize(
    ("server", "caller", "status"),
    [
        (("127.0.0.1", 8000), ANYBODY, 421),
        (("::1", 8000), ANYBODY, 421),
        (("10.0.0.1", 8000), ANYBODY, 200),
        (None, ANYBODY, 200),
        (("127.0.0.1", 8000), Caller("ada", Scope.ADMIN), 200),
    ],
)
def test_the_host_matters_where_only_the_machine_could_ask_without_a_key(server, caller, status):
    async def inside(_scope, _receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def outside(scope, receive, send):
        await ForeignPages(inside)({**scope, "server": server, "state": {"caller": caller}}, receive, send)

    async def ask():
        transport = httpx.ASGITransport(outside)
        async with httpx.AsyncClient(transport=transport, base_url="http://gpu-host:8000") as http:
            return (await http.get("/v1/version")).status_code

    assert asyncio.run(ask()) == status
