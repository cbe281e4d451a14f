"""Which checkpoint of a training a request means."""

from worker.contract.checkpoints import CheckpointRecord, best_of, list_records
from worker.contract.errors import InvalidRequest, WrongState
from worker.contract.requests import NamedCheckpoint
from worker.contract.store import Store


def chosen_checkpoint(store: Store, training: str, checkpoint: NamedCheckpoint | int) -> CheckpointRecord:
    """The checkpoint at a step, the newest, or the best.

    Raises:
        WrongState: the training has none yet, or none that is known to be the best.
        InvalidRequest: it has none at this step; the sentence names those there are.
    """
    records = list_records(store.folder(training))
    if not records:
        raise WrongState(f"{training} has no checkpoint to draw from yet: wait for its first, or its end.")
    if checkpoint == "best":
        if (best := best_of(records)) is None:
            raise WrongState(
                f"Which checkpoint of {training} is the best is not known: it was trained without `evaluate_every`, or "
                "was not evaluated yet. Take `latest`, or a step."
            )
        checkpoint = best.step
    step = records[-1].step if checkpoint == "latest" else checkpoint
    for record in records:
        if record.step == step:
            return record
    kept = ", ".join(str(record.step) for record in records)
    raise InvalidRequest.at("#/checkpoint", f"There is no checkpoint at step {step}: kept are {kept}.")
