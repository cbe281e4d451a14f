import pytest


@pytest.mark.parametrize("given", ["a", "0af7651916cd43dd8448eb211c80319c", "x" * 128, "web-1:42._"])
def test_a_client_s_own_id_is_sent_back(http, given):
    assert http.get("/healthz", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [None, "", "two words", "x" * 129, 'quote"d', "new%0aline"])
def test_without_one_that_is_harmless_there_is_a_new_one(http, given):
    headers = {} if given is None else {"X-Request-ID": given}
    ids = {http.get("/healthz", headers=headers).headers["x-request-id"] for _ in range(2)}
    assert len(ids) == 2
    assert all(len(each) == 32 and int(each, 16) >= 0 for each in ids)


@pytest.mark.parametrize(("method", "path"), [("GET", "/nowhere"), ("PUT", "/v1/datasets"), ("POST", "/v1/datasets")])
def test_errors_have_one_too(http, method, path):
    assert http.request(method, path).headers["x-request-id"]


def test_refusals_have_one_too(as_key):
    response = as_key().get("/v1/version")
    assert (response.status_code, len(response.headers["x-request-id"])) == (401, 32)
