"""No route is found by an address that those who guard it may read otherwise."""

import asyncio

import pytest

from app.printable_paths import PrintablePaths


@pytest.mark.parametrize(
    "address", ["/healthz%0A", "/healthz%0D", "/v1/sources/%00", "/v1/%0Asources", "/%7F", "/%C2%85"]
)
def test_what_cannot_be_printed_is_no_address(http, address):
    response = http.get(address)
    assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json")
    assert (response.json()["type"], response.json()["detail"]) == ("/problems/not-found", "There is no such address.")
    assert response.headers["x-request-id"]
    assert response.headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize("address", ["/v1/sources/R%C3%B6ntgen", "/v1/sources/two%20words", "/v1/sources?q=%0A"])
def test_letters_of_any_language_spaces_and_queries_are_for_the_routes(http, address):
    assert "no such address" not in http.get(address).text


@pytest.mark.parametrize("scope", [{"type": "lifespan"}, {"type": "websocket", "path": "/healthz\n"}])
def test_what_is_no_request_is_passed_on(scope):
    passed = []

    async def inside(scope, _receive, _send):
        passed.append(scope)

    asyncio.run(PrintablePaths(inside)(scope, None, None))
    assert passed == [scope]
