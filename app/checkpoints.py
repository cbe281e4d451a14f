"""Which checkpoint of a training a request means."""

from typing import Literal

from worker.contract.checkpoints import CheckpointRecord, list_records
from worker.contract.errors import InvalidRequest, WrongState
from worker.contract.store import Store


def chosen_checkpoint(store: Store, training: str, checkpoint: Literal["latest"] | int) -> CheckpointRecord:
    """The checkpoint at a step, or the newest.

    Raises:
        WrongState: the training has none yet.
        InvalidRequest: it has none at this step; the sentence names those there are.
    """
    records = {each.step: each for each in list_records(store.folder(training))}
    if not records:
        raise WrongState(f"{training} has no checkpoint to draw from yet: wait for its first, or its end.")
    step = max(records) if checkpoint == "latest" else checkpoint
    if step not in records:
        kept = ", ".join(map(str, records))
        raise InvalidRequest.at("#/checkpoint", f"There is no checkpoint at step {step}: kept are {kept}.")
    return records[step]
