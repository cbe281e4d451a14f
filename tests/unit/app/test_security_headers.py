import base64
import hashlib
import re

import pytest

NOTHING = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def checked(response):
    """A response with the headers that every one has, without any that opens a door."""
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["x-frame-options"] == "DENY"
    assert response.headers["referrer-policy"] == "no-referrer"
    assert response.headers["cross-origin-resource-policy"] == "same-origin"
    assert "frame-ancestors 'none'" in response.headers["content-security-policy"]
    assert not [name for name in response.headers if name.startswith("access-control-")]
    assert not re.search(r"[0-9]", response.headers.get("server", ""))
    return response


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", "/v1/datasets", 200),
        ("GET", "/openapi.json", 200),
        ("GET", "/nowhere", 404),
        ("PUT", "/v1/datasets", 403),
        ("POST", "/v1/datasets", 403),
        ("OPTIONS", "/v1/datasets", 405),
    ],
)
def test_every_answer_has_them(http, method, path, status):
    headers = {"Origin": "http://elsewhere.example", "Access-Control-Request-Method": "POST"}
    response = checked(http.request(method, path, json={} if method == "POST" else None, headers=headers))
    assert response.status_code == status
    assert response.headers["content-security-policy"] == NOTHING
    assert response.headers["cache-control"] == "no-store"


def test_what_is_too_large_or_failed_has_them_too(http, monkeypatch):
    assert checked(http.post("/v1/datasets", json={"source": "x" * 2_000_000})).status_code == 413

    def broken(*_):
        raise ZeroDivisionError

    monkeypatch.setattr("app.routes.system.version", broken)
    assert checked(http.get("/v1/version")).status_code == 500


def test_whoever_has_no_key_gets_them_too(as_key):
    assert checked(as_key().get("/v1/datasets")).status_code == 401


def test_what_tells_of_a_resource_is_kept_by_no_cache(http, dataset, training):
    for path in (f"/v1/datasets/{dataset}", f"/v1/datasets/{dataset}/events", f"/v1/trainings/{training}/metrics"):
        assert checked(http.get(path)).headers["cache-control"] == "no-store"
    stream = http.get(f"/v1/datasets/{dataset}/events", headers={"Accept": "text/event-stream"})
    assert checked(stream).headers["cache-control"] == "no-store"


def test_an_artefact_may_be_kept_by_the_client_that_asks_each_time(http, training):
    snapshot = checked(http.get(f"/v1/trainings/{training}/snapshots/10.png"))
    assert snapshot.headers["cache-control"] == "private, no-cache"
    known = {"If-None-Match": snapshot.headers["etag"]}
    assert checked(http.get(snapshot.url.path, headers=known)).status_code == 304


@pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect"])
def test_a_page_may_run_its_own_scripts_and_no_others(http, path):
    page = checked(http.get(path))
    policy = dict(each.split(" ", 1) for each in page.headers["content-security-policy"].split("; "))
    scripts = re.findall(r"<script>(.*?)</script>", page.text, re.DOTALL)
    assert scripts
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    assert policy["script-src"].split() == ["'self'", *(f"'sha256-{digest}'" for digest in digests)]
    for address in re.findall(r'(?:src|href)="([^"]+)"', page.text):
        assert address.startswith("/")
        assert checked(http.get(address)).headers["etag"]
