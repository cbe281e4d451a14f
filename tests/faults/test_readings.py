"""A reader whose front end is killed goes on where they were, and no answer that was acknowledged is lost."""

import numpy as np
import pytest

from ended import write_reader_study
from machine import Machine, eventually
from worker.contract.resources import Kind
from worker.contract.store import Store

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

COUNT = 30
KILLED_AT = (7, 20, 41)


def test_a_killed_front_end_loses_no_answer(machine: Machine) -> None:
    machine.start_redis()
    api = machine.start_api()
    study, truth = write_reader_study(Store(machine.store), Kind.TRAINING.new_id(), count=COUNT)
    address = f"/v1/reader-studies/{study}"
    reader = machine.http.post(f"{address}/readers", json={"name": "Ada"}).json()
    here = f"{address}/readers/{reader['id']}"
    chance = np.random.default_rng(1)
    given = []
    while reader["next"]:
        given.append(str(chance.choice(["real", "synthetic"])))
        answer = {"origin": given[-1], "confidence": 3, "seconds": 1.0}
        reader = machine.http.put(reader["next"]["answer"], json=answer).json()
        if reader["answered"] in KILLED_AT:
            api.kill()
            api.wait()
            eventually(lambda: not machine.answers())
            api = machine.start_api()
            assert machine.http.get(here).json() == reader
    rows = machine.http.get(f"{address}/results.csv").text.splitlines()
    column = rows[0].split(",").index("answered_origin")
    assert [row.split(",")[column] for row in rows[1:]] == given
    assert len(given) == len(truth.images)
