"""The settings every part agrees on, read from the environment once and passed on from there."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from worker.contract.fast_paths import FastPath


class Settings(BaseSettings):
    """One field per environment variable; the README's table is checked against this class."""

    model_config = SettingsConfigDict(env_prefix="RAGAN_", frozen=True, env_ignore_empty=True)

    sources: Path = Field(Path("sources"), description="Folder whose sub-folders are the sources.")
    store: Path = Field(
        Path(".ragan"), description="Folder where datasets, trainings, generations, evaluations and studies live."
    )
    redis_url: str | None = Field(
        None,
        validation_alias="REDIS_URL",
        description="Address of the Redis server; unset, `ragan up` runs one of its own.",
    )
    redis_password_file: Path | None = Field(
        None, description="File with the password of the server at `REDIS_URL`, in place of one in the address."
    )
    url: str = Field("http://127.0.0.1:8000", description="Address of the service, for the client verbs.")
    api_key: SecretStr | None = Field(None, description="Key that the client verbs send as a bearer token.")
    keys_file: Path | None = Field(None, description="File of the API keys' hashes; unset: `keys.json` in the store.")
    quota_jobs: int = Field(100, ge=0, description="Jobs of one API key that may be queued or running at once.")
    quota_running: int = Field(
        100, ge=1, description="Jobs of one API key that workers may be at at once; the others wait, and are passed."
    )
    quota_steps: int = Field(
        1_000_000, ge=0, description="Steps that one training of an API key may have, or one generator of a study."
    )
    quota_images: int = Field(
        100_000,
        ge=0,
        description="Images that one generation, evaluation or reader study may draw, or one generator of a study.",
    )
    quota_bytes: int = Field(
        100_000_000_000, ge=0, description="Bytes that what an API key has made may take up in the store."
    )
    queue_limit: int = Field(10_000, ge=1, description="Jobs that may wait in all queues together, whoever asks.")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="How much is logged.")
    log_format: Literal["text", "json"] = Field(
        "text",
        description="`json`: each message in the logs of the front end and of the workers is a JSON object on a line.",
    )
    prepare_processes: int | None = Field(
        None, ge=1, description="Processes that read images while a dataset is prepared; unset: one per CPU core."
    )
    cpu_devices: int = Field(
        1, ge=1, le=64, description="Logical devices that a worker without a GPU makes of its CPU, to try out several."
    )
    fast_paths: Annotated[frozenset[FastPath] | None, NoDecode] = Field(
        None,
        description="Faster ways of computing that a worker takes, separated by commas, or `none`, to compare them; "
        "unset: those that are best on its devices.",
    )
    inception_weights: Path | None = Field(
        None,
        description="File with the weights of Keras's InceptionV3 without its top, for evaluations with the features "
        "`inception`; nothing is downloaded.",
    )

    @field_validator("fast_paths", mode="before")
    @classmethod
    def _names(cls, given: Any) -> Any:
        if isinstance(given, str):
            return {name.strip() for name in given.split(",")} - {"none"}
        return given

    @field_validator("redis_password_file")
    @classmethod
    def _goes_with_an_address(cls, given: Path | None, others: ValidationInfo) -> Path | None:
        if given is not None and others.data.get("redis_url") is None:
            raise ValueError("it is for the server at REDIS_URL, which is not set")
        return given
