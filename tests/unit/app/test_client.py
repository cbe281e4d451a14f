import threading

import httpx
import numpy as np
import pytest

from app.client import SHORT_JOB_SECONDS, Client, JobNotSuccessful, Refused, ServiceUnreachable
from worker.contract.queues import QueueName


@pytest.fixture
def client(url, monkeypatch):
    monkeypatch.setenv("RAGAN_URL", url)
    monkeypatch.setattr("app.client.POLL_SECONDS", 0.02)
    with Client() as client:
        yield client


class BrokenConnections(httpx.HTTPTransport):
    """Breaks the first connections: after so many bytes of the answer's content, or for -1 before any answer."""

    def __init__(self, *bytes_before_each_break):
        super().__init__()
        self.breaks = list(bytes_before_each_break)
        self.asked = []

    def handle_request(self, request):
        self.asked.append(request)
        response = super().handle_request(request)
        if not self.breaks:
            return response
        content, kept = response.read(), self.breaks.pop(0)
        response.close()
        if kept < 0:
            raise httpx.ReadError("broken", request=request)
        stream = BrokenStream(content[:kept])
        return httpx.Response(response.status_code, headers=response.headers, stream=stream, request=request)


class BrokenStream(httpx.SyncByteStream):
    def __init__(self, content):
        self.content = content

    def __iter__(self):
        yield self.content
        raise httpx.ReadError("broken")


@pytest.fixture
def impatient(monkeypatch):
    """Tries again at once."""
    monkeypatch.setattr("app.client.RETRY_SECONDS", (0, 0))


def test_selects_and_waits_and_shows_the_way(client, work):
    queued = client.select("clinic", image_size=16, wait=False)
    seen = []
    waiting = threading.Thread(target=client.wait, args=(queued,), kwargs={"on_progress": seen.append})
    waiting.start()
    work(QueueName.PREPARE)
    waiting.join(20)
    assert seen[-1]["status"] == "succeeded"
    assert client.get(queued)["result"]["images"] == 40
    images = client.images(queued)
    assert (images.shape, images.dtype) == ((40, 16, 16), np.uint8)


def test_a_short_job_needs_no_second_look():
    asked = []

    def answer(request):
        asked.append((request.method, request.headers["prefer"]))
        return httpx.Response(200, json={"id": "gn_1", "status": "succeeded"})

    seen = []
    with Client("http://service", transport=httpx.MockTransport(answer)) as client:
        made = client.generate("tr_1", count=2, on_progress=seen.append)
    assert asked == [("POST", f"wait={SHORT_JOB_SECONDS}")]
    assert seen == [made]


def test_previews_what_would_be_selected(client):
    assert client.preview("clinic", where={"view": ["AP"]})["images"] == 20


def test_trains_generates_and_resumes_by_id_or_by_resource(client, family, dataset, training):
    queued = client.train(dataset, family="tiny16", hyperparameters={"width": 0.5}, steps=5, wait=False)
    assert queued["request"]["model"]["hyperparameters"]["width"] == 0.5
    assert client.generate(client.get(training), count=2, wait=False)["request"]["training"] == training
    with pytest.raises(Refused, match="name one of them"):
        client.generate(wait=False)
    assert client.resume(training, steps=40, wait=False)["request"]["steps"] == 40
    assert client.cancel(queued)["status"] == "canceled"
    with pytest.raises(JobNotSuccessful, match="canceled"):
        client.wait(queued)
    client.delete(queued)
    with pytest.raises(Refused, match="There is no training"):
        client.get(queued)


def test_evaluates_and_saves_what_that_leaves(client, training, evaluation, tmp_path):
    queued = client.evaluate(client.get(training), count=50, reference="train", wait=False)
    assert (queued["request"]["training"], queued["request"]["reference"]) == (training, "train")
    links = client.get(evaluation)["links"]
    assert client.download(links["nearest"], tmp_path / "nearest.png").read_bytes()[:4] == b"\x89PNG"
    assert client.download(links["card"], tmp_path / "card.html").read_text().startswith("<!DOCTYPE html>")


def test_reads_metrics_and_images(client, training, generation, tmp_path):
    assert [row["step"] for row in client.metrics(training, after_step=27)] == [28, 29, 30]
    assert client.images(generation).shape == (300, 16, 16)
    saved = client.download(f"/v1/generations/{generation}/images", tmp_path / "images.zip", "application/zip")
    assert saved.read_bytes()[:2] == b"PK"
    assert [file.name for file in tmp_path.glob("*images*")] == ["images.zip"]


def test_lists_sources_and_models(client, family):
    assert {source["id"] for source in client.sources()} >= {"clinic", "holiday-photos"}
    assert [model["family"] for model in client.models()] == ["tiny16"]


def test_says_why_the_service_refused(client, tmp_path):
    with pytest.raises(Refused, match="Did you mean 'clinic'") as refused:
        client.select("clinc")
    assert refused.value.problem["status"] == 422
    with pytest.raises(Refused, match="There is no generation"):
        client.download("/v1/generations/gn_01k00000000000000000000000/images", tmp_path / "x.zip")
    assert list(tmp_path.glob("*x.zip*")) == []


def test_says_that_nobody_answers(tmp_path):
    client = Client("http://127.0.0.1:9")
    with pytest.raises(ServiceUnreachable, match="ragan up"):
        client.sources()
    with pytest.raises(ServiceUnreachable, match="ragan up"):
        client.download("/x", tmp_path / "x")


def test_sends_its_key():
    seen = []

    def answer(request):
        seen.append(request.headers["authorization"])
        return httpx.Response(200, json={"data": []})

    Client("http://service", "secret", transport=httpx.MockTransport(answer)).sources()
    assert seen == ["Bearer secret"]


def test_reports_an_answer_that_is_no_problem():
    def proxy(_):
        return httpx.Response(502, text="Bad gateway")

    with pytest.raises(Refused, match="Bad gateway"):
        Client("http://service", transport=httpx.MockTransport(proxy)).sources()


def test_asks_again_when_an_answer_is_lost_and_makes_nothing_twice(url, http, impatient):
    transport = BrokenConnections(-1, -1)
    with Client(url, transport=transport) as client:
        made = client.select("clinic", image_size=16, wait=False)
        other = client.select("clinic", image_size=16, wait=False)
    assert [each["id"] for each in http.get("/v1/datasets").json()["data"]] == [other["id"], made["id"]]
    keys = [request.headers["idempotency-key"] for request in transport.asked]
    assert len(keys) == 4
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_gives_up_asking_at_some_point(url, impatient):
    transport = BrokenConnections(-1, -1, -1)
    with Client(url, transport=transport) as client, pytest.raises(ServiceUnreachable):
        client.select("clinic", wait=False)
    assert len(transport.asked) == 3


def test_does_not_ask_again_where_nobody_listens(impatient, tmp_path):
    asked = []

    def refused(request):
        asked.append(request)
        raise httpx.ConnectError("refused")

    with Client("http://service", transport=httpx.MockTransport(refused)) as client:
        with pytest.raises(ServiceUnreachable):
            client.select("clinic")
        with pytest.raises(ServiceUnreachable):
            client.download("/x", tmp_path / "x")
    assert len(asked) == 2


def test_goes_on_with_a_download_where_it_broke_off(url, http, generation, tmp_path, impatient):
    path = f"/v1/generations/{generation}/images"
    transport = BrokenConnections(1000, 0, 3000, -1)
    with Client(url, transport=transport) as client:
        saved = client.download(path, tmp_path / "images.zip")
    assert saved.read_bytes() == http.get(path).content
    ranges = [request.headers.get("range") for request in transport.asked]
    assert ranges == [None, "bytes=1000-", "bytes=1000-", "bytes=4000-", "bytes=4000-"]


def test_begins_a_download_again_that_has_changed_meanwhile(url, http, store, training, tmp_path, impatient):
    path = f"/v1/trainings/{training}/snapshots/10.png"
    transport = BrokenConnections(20)

    def changed_after_the_break(request):
        if transport.asked:
            store.publish_bytes(b"another snapshot", training, "snapshots/00000010.png")
        return transport.handle_request(request)

    with Client(url, transport=httpx.MockTransport(changed_after_the_break)) as client:
        saved = client.download(path, tmp_path / "snapshot.png")
    assert saved.read_bytes() == b"another snapshot"
    transport.close()


def test_gives_up_a_download_without_progress_and_leaves_nothing(url, generation, tmp_path, impatient):
    transport = BrokenConnections(1000, 0, 0)
    with Client(url, transport=transport) as client, pytest.raises(ServiceUnreachable):
        client.download(f"/v1/generations/{generation}/images", tmp_path / "images.zip")
    assert len(transport.asked) == 3
    assert list(tmp_path.iterdir()) == []


def test_deletes_with_all_that_was_made_from_it(client, dataset, generation):
    with pytest.raises(Refused, match="cascade=true"):
        client.delete(dataset)
    client.delete(dataset, cascade=True)
    with pytest.raises(Refused, match="There is no generation"):
        client.get(generation)
