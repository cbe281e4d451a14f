import asyncio
import re
from collections.abc import Mapping

import pytest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.parser import text_string_to_metric_families

from app.metrics import MeasuredRequests, Metrics
from documents import API, code
from worker import jobs
from worker.contract.job_counters import COUNTERS
from worker.contract.live import utc_now
from worker.contract.queues import QueueName, enqueue
from worker.contract.resources import Kind, Progress, RequestRecord, Status
from worker.contract.store import Store

SMALL = {"source": "clinic", "image_size": 16}


class Scrape:
    """What Prometheus makes of an answer."""

    def __init__(self, text: str) -> None:
        self.families = {family.name: family for family in text_string_to_metric_families(text)}
        self.samples = [sample for family in self.families.values() for sample in family.samples]

    def __call__(self, name: str, **labels: str) -> float | None:
        """The value of the one sample that has this name and these labels; None if there is none."""
        found = [each.value for each in self.samples if each.name == name and each.labels == labels]
        assert len(found) < 2, name
        return found[0] if found else None

    def nonzero(self, name: str) -> Mapping[tuple[str, ...], float]:
        """The samples of a name that are not 0, by the values of their labels."""
        return {tuple(each.labels.values()): each.value for each in self.samples if each.name == name and each.value}


def scrape(client):
    response = client.get("/metrics")
    assert (response.status_code, response.headers["content-type"]) == (200, CONTENT_TYPE_PLAIN_0_0_4)
    return Scrape(response.text)


def test_with_nothing_there_everything_is_known_and_0(http):
    scraped = scrape(http)
    assert (scraped("ragan_redis_up"), scraped("ragan_store_up")) == (1, 1)
    assert scraped("ragan_store_free_bytes") > 0
    assert scraped("ragan_queue_jobs", queue="train", state="running") == 0
    assert scraped("ragan_workers", queue="generate") == scraped("ragan_workers", queue="evaluate") == 0
    assert scraped("ragan_images_per_second", kind="dataset") == 0
    assert scraped("ragan_jobs_ended_total", kind="training", status="failed") == 0
    assert scraped("ragan_job_duration_seconds_bucket", kind="training", status="failed", le="+Inf") == 0


def test_jobs_that_wait_are_counted_by_queue(http, training):
    for _ in range(2):
        http.post("/v1/datasets", json=SMALL)
    http.post("/v1/generations", json={"training": training})
    http.post("/v1/evaluations", json={"training": training})
    assert scrape(http).nonzero("ragan_queue_jobs") == {
        ("prepare", "waiting"): 2,
        ("generate", "waiting"): 1,
        ("evaluate", "waiting"): 1,
    }


@pytest.mark.parametrize(
    ("kind", "queue", "function", "unit", "images_per_second"),
    [
        (Kind.DATASET, QueueName.PREPARE, "prepare_dataset", "images", 2.5),
        (Kind.TRAINING, QueueName.TRAIN, "train_model", "steps", 2.5 * 64 * 3),
        (Kind.GENERATION, QueueName.GENERATE, "generate_images", "images", 2.5),
        (Kind.STUDY, QueueName.TRAIN, "study_augmentation", "steps", 2.5 * 64 * 3),
        (Kind.STUDY, QueueName.TRAIN, "study_augmentation", "epochs", 0),
        (Kind.DATASET, QueueName.PREPARE, "prepare_dataset", "files", None),
    ],
)
def test_a_job_at_work_shows_with_its_worker_and_its_speed(
    http, redis, store, live, work, monkeypatch, kind, queue, function, unit, images_per_second
):
    taught = {"batch_size": 64, "model": {"hyperparameters": {"d_steps": 3}}}
    request = {Kind.TRAINING: taught, Kind.STUDY: {"generator": taught}}.get(kind, {})
    record = RequestRecord(id=kind.new_id(), kind=kind, created_at=utc_now(), request=request)
    store.write_request(record)
    live.create(record.id, record.run)
    enqueue(redis, kind, record.id, record.run)
    scrapes = []

    def scrape_at_work(resource_id, run):
        state = live.move(resource_id, run, Status.RUNNING)
        scrapes.append(scrape(http))
        live.report(resource_id, state.epoch, Progress(phase="work", done=1, total=9, unit=unit, rate=2.5))
        scrapes.append(scrape(http))

    monkeypatch.setattr(jobs, function, scrape_at_work)
    work(queue)
    started, measured = scrapes
    assert started.nonzero("ragan_queue_jobs") == {(queue, "running"): 1}
    assert started.nonzero("ragan_workers") == {(queue,): 1}
    assert started.nonzero("ragan_images_per_second") == {}
    assert measured("ragan_images_per_second", kind=kind) == (images_per_second or 0)
    after = scrape(http)
    assert [after.nonzero(f"ragan_{name}") for name in ("queue_jobs", "workers", "images_per_second")] == [{}, {}, {}]


def test_jobs_that_end_are_counted_and_those_that_started_timed(http, redis, work):
    http.post("/v1/datasets", json=SMALL)
    work(QueueName.PREPARE)
    canceled = http.post("/v1/datasets", json=SMALL).json()["id"]
    http.post(f"/v1/datasets/{canceled}/cancel")
    scraped = scrape(http)
    assert scraped.nonzero("ragan_jobs_ended_total") == {("dataset", "succeeded"): 1, ("dataset", "canceled"): 1}
    assert scraped.nonzero("ragan_job_duration_seconds_count") == {("dataset", "succeeded"): 1}
    assert scraped.nonzero("ragan_job_duration_seconds_sum").keys() == {("dataset", "succeeded")}
    redis.delete(COUNTERS)
    assert scrape(http).nonzero("ragan_jobs_ended_total") == {}


def test_requests_are_counted_by_the_route_that_answered(own_http, dataset):
    own_http.get(f"/v1/datasets/{dataset}")
    own_http.get(f"/v1/datasets/{dataset}")
    own_http.get(f"/v1/datasets/{Kind.DATASET.new_id()}")
    own_http.get("/docs")
    own_http.get("/v1/nowhere")
    own_http.put("/v1/version")
    own_http.request("BREW", "/v1/version")
    scraped = scrape(own_http)
    assert scraped.nonzero("ragan_http_requests_total") == {
        ("GET", "/v1/datasets/{resource_id}", "200"): 2,
        ("GET", "/v1/datasets/{resource_id}", "404"): 1,
        ("GET", "/docs", "200"): 1,
        ("GET", "none", "404"): 1,
        ("PUT", "/v1/version", "405"): 1,
        ("other", "/v1/version", "405"): 1,
    }
    assert scraped("ragan_http_request_duration_seconds_count", method="GET", route="/v1/datasets/{resource_id}") == 3


def test_to_have_waited_as_asked_is_no_slow_answer(own_http):
    answer = own_http.post("/v1/datasets", json=SMALL, headers={"Prefer": "wait=1"})
    assert answer.headers["preference-applied"] == "wait=1"
    scraped = scrape(own_http)
    assert scraped("ragan_http_requests_total", method="POST", route="/v1/datasets", status="202") == 1
    assert scraped("ragan_http_request_duration_seconds_count", method="POST", route="/v1/datasets") is None


def test_an_event_stream_counts_as_soon_as_it_begins(own_http):
    events = own_http.post("/v1/datasets", json=SMALL).json()["links"]["events"]
    with own_http.stream("GET", events, headers={"Accept": "text/event-stream"}):
        scraped = scrape(own_http)
    route = "/v1/datasets/{resource_id}/events"
    assert scraped("ragan_http_requests_total", method="GET", route=route, status="200") == 1
    assert scraped("ragan_http_request_duration_seconds_count", method="GET", route=route) == 1


def test_an_error_that_nobody_foresaw_is_counted_though_it_is_answered_elsewhere(redis, store, live):
    async def broken(scope, receive, send):
        raise ZeroDivisionError

    metrics = Metrics(redis, store, live)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(MeasuredRequests(broken, metrics)({"type": "http", "method": "GET"}, None, None))
    assert Scrape(metrics.text().decode()).nonzero("ragan_http_requests_total") == {("GET", "none", "500"): 1}


def test_without_redis_the_rest_is_told(own_http, own_redis):
    own_http.get("/v1/version")
    own_redis.stop()
    scraped = scrape(own_http)
    assert scraped("ragan_redis_up") == 0
    assert scraped("ragan_store_up") == 1
    assert scraped("ragan_http_requests_total", method="GET", route="/v1/version", status="200") == 1
    assert not scraped.families.keys() & {"ragan_queue_jobs", "ragan_workers", "ragan_jobs_ended"}


def test_without_a_store_the_rest_is_told(redis, live, tmp_path):
    (tmp_path / "file").touch()
    scraped = Scrape(Metrics(redis, Store(tmp_path / "file"), live).text().decode())
    assert (scraped("ragan_redis_up"), scraped("ragan_store_up")) == (1, 0)
    assert scraped("ragan_store_free_bytes") is None


def test_a_key_that_may_read_is_needed_where_there_are_keys(as_key):
    assert as_key().get("/metrics").status_code == 401
    scrape(as_key("prometheus", "read"))


def test_no_label_has_an_id_a_key_or_its_name(as_key, work, training):
    ada = as_key("ada-lovelace")
    secret = ada.headers["authorization"].partition(" ")[2]
    made = ada.post("/v1/datasets", json=SMALL).json()["id"]
    work(QueueName.PREPARE)
    ada.post("/v1/generations", json={"training": training})
    for path in (f"/v1/datasets/{made}", f"/v1/trainings/{training}/metrics", f"/{secret}", f"/v1/datasets/{secret}"):
        ada.get(path)
    ada.request(secret.upper(), "/v1/version")
    values = {value for sample in scrape(ada).samples for value in sample.labels.values()}
    assert "/v1/trainings/{resource_id}/metrics" in values
    assert [value for value in values if re.search(r"(ds|tr|gn|ev)_|rgn|lovelace", value, re.IGNORECASE)] == []


def test_the_documented_metrics_are_those_there_are(http):
    (table,) = API.tables("metric")
    there = scrape(http)
    for cell, labels, _ in table.rows:
        (name,) = code(cell)
        if name == "process_…":
            continue
        family = there.families.pop(name.removesuffix("_total"))
        assert family.type == ("histogram" if name.endswith("_duration_seconds") else family.type)
        assert {*code(labels), "le"} == {"le", *(label for sample in family.samples for label in sample.labels)}
    assert all(name.startswith("process_") for name in there.families)
