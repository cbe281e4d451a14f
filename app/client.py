"""The service from Python: select, train, generate in five lines.

from app.client import Client

ragan = Client()
dataset = ragan.select("nih-cxr14", where={"labels": ["No Finding"], "view": ["PA"]}, image_size=64)
training = ragan.train(dataset, family="dcgan64", steps=2000)
images = ragan.images(ragan.generate(training, count=64))
"""

import io
import json
import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import httpx
import numpy as np
from numpy.typing import NDArray

from worker.contract.resources import Kind, Status
from worker.contract.settings import Settings

POLL_SECONDS = 0.5
SHORT_JOB_SECONDS = 2
"""A job that ends so soon is answered with its result; one that takes longer is looked at now and then."""
RETRY_SECONDS = (0.5, 1.0, 2.0)
"""Pauses before what came to nothing is tried again."""

Resource = dict[str, Any]
OnProgress = Callable[[Resource], None]


class ServiceUnreachable(Exception):
    """No service answers at this address."""


class Refused(Exception):
    """The service refused; `problem` is its answer (RFC 9457) and the message its `detail`."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        self.problem = dict(problem)
        super().__init__(str(problem.get("detail") or problem.get("title")))


class JobNotSuccessful(Exception):
    """A job that was waited for failed or was cancelled; `resource` is how it ended."""

    def __init__(self, resource: Resource) -> None:
        self.resource = resource
        error = resource.get("error") or {}
        super().__init__(f"{resource['id']} {resource['status']}. {error.get('detail', '')}".strip())


class Client:
    """A connection to one service. Resources are the dictionaries of the HTTP contract.

    Args:
        url: address of the service; RAGAN_URL if not given.
        api_key: sent as a bearer token; RAGAN_API_KEY if not given.
        transport: for tests.
    """

    def __init__(
        self, url: str | None = None, api_key: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        settings = Settings()
        if api_key is None and settings.api_key is not None:
            api_key = settings.api_key.get_secret_value()
        self._http = httpx.Client(
            base_url=url or settings.url,
            headers={"Authorization": f"Bearer {api_key}"} if api_key else {},
            timeout=httpx.Timeout(30.0, read=120.0),
            transport=transport,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def sources(self) -> list[dict[str, Any]]:
        """The collections of images there are to choose from."""
        found: list[dict[str, Any]] = self._json("GET", "/v1/sources")["data"]
        return found

    def models(self) -> list[dict[str, Any]]:
        """The families that can be trained."""
        found: list[dict[str, Any]] = self._json("GET", "/v1/models")["data"]
        return found

    def preview(self, source: str, **request: Any) -> dict[str, Any]:
        """What `select` would select, at once: images, counts and attrition."""
        return self._dry_run(Kind.DATASET, {"source": source, **request})

    def select(
        self, source: str, *, wait: bool = True, on_progress: OnProgress | None = None, **request: Any
    ) -> Resource:
        """Make a dataset; keywords are the fields of `POST /v1/datasets`."""
        return self._submit(Kind.DATASET, {"source": source, **request}, wait, on_progress)

    def train(
        self,
        dataset: Resource | str,
        *,
        family: str | None = None,
        preset: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        wait: bool = True,
        on_progress: OnProgress | None = None,
        **request: Any,
    ) -> Resource:
        """Train a family on a dataset; further keywords are the fields of `POST /v1/trainings`."""
        model = _model_choice(family, preset, hyperparameters)
        return self._submit(Kind.TRAINING, {"dataset": _id(dataset), "model": model, **request}, wait, on_progress)

    def forecast(
        self,
        dataset: Resource | str,
        *,
        family: str | None = None,
        preset: str | None = None,
        hyperparameters: Mapping[str, Any] | None = None,
        **request: Any,
    ) -> dict[str, Any]:
        """What `train` would take, without training: parameters, operations per step, memory."""
        model = _model_choice(family, preset, hyperparameters)
        return self._dry_run(Kind.TRAINING, {"dataset": _id(dataset), "model": model, **request})

    def resume(
        self,
        training: Resource | str,
        *,
        steps: int | None = None,
        wait: bool = True,
        on_progress: OnProgress | None = None,
    ) -> Resource:
        """Carry a training further, to a new total of steps or to the old one."""
        queued = self._json("POST", f"{_path(_id(training))}/resume", {"steps": steps})
        return self._until_end(queued, on_progress) if wait else queued

    def generate(
        self,
        training: Resource | str | None = None,
        *,
        wait: bool = True,
        on_progress: OnProgress | None = None,
        **request: Any,
    ) -> Resource:
        """Draw images from a training, or by `balance` and `trainings` what the classes of a dataset lack.

        Keywords are the fields of `POST /v1/generations`.
        """
        drawn_by = {} if training is None else {"training": _id(training)}
        return self._submit(Kind.GENERATION, drawn_by | request, wait, on_progress)

    def evaluate(
        self, training: Resource | str, *, wait: bool = True, on_progress: OnProgress | None = None, **request: Any
    ) -> Resource:
        """Compare images of a training with real ones; keywords are the fields of `POST /v1/evaluations`."""
        return self._submit(Kind.EVALUATION, {"training": _id(training), **request}, wait, on_progress)

    def reader_study(
        self, training: Resource | str, *, wait: bool = True, on_progress: OnProgress | None = None, **request: Any
    ) -> Resource:
        """Mix images of a training with real ones; keywords are the fields of `POST /v1/reader-studies`."""
        return self._submit(Kind.READER_STUDY, {"training": _id(training), **request}, wait, on_progress)

    def enrol(self, study: Resource | str, name: str) -> dict[str, Any]:
        """Take a reader into a study; the answer has the id by which they read, and is theirs alone."""
        return self._json("POST", f"{_path(_id(study))}/readers", {"name": name})

    def readings(self, study: Resource | str) -> dict[str, Any]:
        """How well the readers of a study could tell, those who have answered every image."""
        return self._json("GET", f"{_path(_id(study))}/results")

    def study(
        self, dataset: Resource | str, *, wait: bool = True, on_progress: OnProgress | None = None, **request: Any
    ) -> Resource:
        """Find out whether synthetic images help a classifier; keywords are the fields of `POST /v1/studies`."""
        return self._submit(Kind.STUDY, {"dataset": _id(dataset), **request}, wait, on_progress)

    def study_plan(self, dataset: Resource | str, **request: Any) -> dict[str, Any]:
        """What `study` would take: generators, classifiers, images by fold and class, bytes."""
        return self._dry_run(Kind.STUDY, {"dataset": _id(dataset), **request})

    def get(self, resource: Resource | str) -> Resource:
        """A resource as it is now."""
        return self._json("GET", _path(_id(resource)))

    def cancel(self, resource: Resource | str) -> Resource:
        """Ask a job to stop."""
        return self._json("POST", f"{_path(_id(resource))}/cancel")

    def delete(self, resource: Resource | str, *, cascade: bool = False) -> None:
        """Remove a resource that has ended, and its files; with `cascade`, first what was made from it."""
        self._request("DELETE", _path(_id(resource)), params={"cascade": cascade})

    def wait(self, resource: Resource | str, *, on_progress: OnProgress | None = None) -> Resource:
        """Wait for a job's end; JobNotSuccessful if it failed or was cancelled."""
        return self._until_end(self.get(resource), on_progress)

    def images(self, resource: Resource | str) -> NDArray[np.uint8]:
        """The images of a dataset or a generation: uint8 of shape (images, size, size), 0 black to 255 white."""
        path = _path(_id(resource))
        path += "/images.npz" if Kind.of(_id(resource)) is Kind.DATASET else "/images"
        response = self._request("GET", path, headers={"Accept": "application/x-npz, */*;q=0.1"})
        with np.load(io.BytesIO(response.content)) as archive:
            images: NDArray[np.uint8] = archive["images"]
        return images

    def metrics(self, training: Resource | str, after_step: int = 0) -> list[dict[str, float]]:
        """A training's losses and accuracies, a row per step."""
        lines = self._request("GET", f"{_path(_id(training))}/metrics?after_step={after_step}").iter_lines()
        return [json.loads(line) for line in lines]

    def download(self, path: str, to: Path, accept: str = "*/*") -> Path:
        """Save what is at a path, such as one of a resource's `links`; the file is there whole or not at all.

        After a broken connection it goes on where it stopped.
        """
        partial = to.with_name(f".{to.name}.part")
        try:
            with partial.open("wb") as file:
                self._fetch(path, accept, file)
            return partial.replace(to)
        finally:
            partial.unlink(missing_ok=True)

    def _dry_run(self, kind: Kind, request: dict[str, Any]) -> dict[str, Any]:
        result: dict[str, Any] = self._json("POST", f"/v1/{kind.collection}?dry_run=true", request)["result"]
        return result

    def _submit(self, kind: Kind, request: dict[str, Any], wait: bool, on_progress: OnProgress | None) -> Resource:
        # Should the answer be lost, the same request is sent again, and makes nothing again.
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        if wait:
            headers["Prefer"] = f"wait={SHORT_JOB_SECONDS}"
        made = self._persistently(lambda: self._json("POST", f"/v1/{kind.collection}", request, headers=headers))
        return self._until_end(made, on_progress) if wait else made

    def _persistently(self, request: Callable[[], Resource]) -> Resource:
        """The answer to a request that may be sent twice; at once ServiceUnreachable while nobody listens at all."""
        pauses, answer_lost = iter(RETRY_SECONDS), False
        while True:
            try:
                return request()
            except ServiceUnreachable as error:
                answer_lost |= not isinstance(error.__cause__, httpx.ConnectError)
                pause = next(pauses, None)
                if pause is None or not answer_lost:
                    raise
                time.sleep(pause)

    def _fetch(self, path: str, accept: str, file: BinaryIO) -> None:
        """Write what is at a path into an empty file, by as many requests as it takes while there is progress."""
        pauses, etag = iter(RETRY_SECONDS), ""
        while True:
            reached = file.tell()
            # What is compressed on its way could not be put together from pieces.
            headers = {"Accept": accept, "Accept-Encoding": "identity"}
            if etag:
                headers |= {"Range": f"bytes={reached}-", "If-Range": etag}
            try:
                with self._http.stream("GET", path, headers=headers) as response:
                    if response.is_error:
                        response.read()
                        raise Refused(_problem(response))
                    if response.status_code != httpx.codes.PARTIAL_CONTENT:
                        file.seek(0)
                        file.truncate()
                    etag = response.headers.get("etag", "")
                    for piece in response.iter_bytes():
                        file.write(piece)
                    return
            except httpx.TransportError as error:
                if file.tell() > reached:
                    pauses = iter(RETRY_SECONDS)
                pause = next(pauses, None)
                if pause is None or not file.tell():
                    raise self._unreachable(error) from error
                time.sleep(pause)

    def _until_end(self, current: Resource, on_progress: OnProgress | None) -> Resource:
        while True:
            if on_progress is not None:
                on_progress(current)
            if Status(current["status"]).terminal:
                break
            time.sleep(POLL_SECONDS)
            current = self.get(current)
        if current["status"] != Status.SUCCEEDED:
            raise JobNotSuccessful(current)
        return current

    def _json(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        answer: dict[str, Any] = self._request(method, path, json=body, headers=headers).json()
        return answer

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, **arguments)
        except httpx.TransportError as error:
            raise self._unreachable(error) from error
        if response.is_error:
            raise Refused(_problem(response))
        return response

    def _unreachable(self, error: Exception) -> ServiceUnreachable:
        return ServiceUnreachable(
            f"No RaGAN answers at {self._http.base_url} ({error}): start one with `ragan up`, or set RAGAN_URL."
        )


def _id(resource: Resource | str) -> str:
    return resource if isinstance(resource, str) else str(resource["id"])


def _model_choice(family: str | None, preset: str | None, hyperparameters: Mapping[str, Any] | None) -> dict[str, Any]:
    choice = {"family": family, "preset": preset, "hyperparameters": dict(hyperparameters or {})}
    return {name: value for name, value in choice.items() if value is not None}


def _path(resource_id: str) -> str:
    return f"/v1/{Kind.of(resource_id).collection}/{resource_id}"


def _problem(response: httpx.Response) -> dict[str, Any]:
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "title" in problem:
        return problem
    return {"title": f"HTTP {response.status_code}", "status": response.status_code, "detail": response.text[:200]}
