import json
import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest
from click.testing import CliRunner

from app.cli import main
from app.keys import Keyring, Quotas, Scope
from app.stack import Stack


@pytest.fixture
def ragan(settings, shared_locked_url, monkeypatch):
    """Runs `ragan …` in this process, on the machine of a service that asks for keys."""
    monkeypatch.setenv("RAGAN_URL", shared_locked_url)
    monkeypatch.setenv("COLUMNS", "160")
    return lambda *arguments: CliRunner().invoke(main, list(arguments))


def test_makes_a_key_that_works_shows_it_once_and_revokes_it(ragan, monkeypatch):
    secret = ragan("keys", "create", "ada", "--scope", "read").stdout.strip()
    monkeypatch.setenv("RAGAN_API_KEY", secret)
    assert "clinic" in ragan("sources").stdout
    listed = ragan("keys", "list")
    assert "ada" in listed.stdout
    assert secret not in listed.stdout + ragan("keys", "list", "--json").stdout
    assert ragan("keys", "revoke", "ada").stdout == ""
    refused = ragan("sources")
    assert (refused.exit_code, "no longer, valid" in refused.stderr) == (1, True)


def test_what_is_refused_is_said_in_a_sentence(ragan, monkeypatch, dataset):
    without = ragan("sources")
    assert (without.exit_code, "RAGAN_API_KEY" in without.stderr) == (1, True)
    monkeypatch.setenv("RAGAN_API_KEY", ragan("keys", "create", "reader", "--scope", "read").stdout.strip())
    forbidden = ragan("cancel", dataset)
    assert (forbidden.exit_code, "needs the scope submit" in forbidden.stderr) == (1, True)
    monkeypatch.setenv("RAGAN_API_KEY", ragan("keys", "create", "none", "--quota", "jobs=0").stdout.strip())
    used_up = ragan("select", "clinic", "--image-size", "16", "--no-wait")
    assert (used_up.exit_code, "0 of 0 jobs" in used_up.stderr) == (1, True)


def test_quotas_of_its_own_are_kept_and_shown(ragan, settings):
    made = ragan("keys", "create", "ada", "--quota", "jobs=7", "--quota", "bytes=1000000", "--json")
    key = Keyring.of(settings).find(json.loads(made.stdout)["key"])
    assert (key.scope, key.quotas) == (Scope.SUBMIT, Quotas(jobs=7, bytes=1_000_000))
    assert "jobs 7, bytes 1,000,000" in ragan("keys", "list").stdout
    (listed,) = json.loads(ragan("keys", "list", "--json").stdout)
    assert listed.keys() == {"name", "scope", "created_at", "quotas"}


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["create", "a b"], 1, "cannot be the name"),
        (["create", "ada", "--scope", "root"], 2, "submit"),
        (["create", "ada", "--quota", "jobs"], 2, "NAME=NUMBER"),
        (["create", "ada", "--quota", "jobs=-1"], 2, "NAME=NUMBER"),
        (["create", "ada", "--quota", "cores=1"], 2, "steps"),
        (["revoke", "nobody"], 1, "There is no key 'nobody'"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(ragan, arguments, code, sentence):
    result = ragan("keys", *arguments)
    assert (result.exit_code, sentence in result.stderr) == (code, True), result.stderr


def test_the_scopes_that_can_be_asked_for_are_those_there_are():
    (option,) = [each for each in main.commands["keys"].commands["create"].params if each.name == "scope"]
    assert list(option.type.choices) == list(Scope)


def test_every_verb_explains_itself():
    for name, command in main.commands["keys"].commands.items():
        result = CliRunner().invoke(main, ["keys", name, "--help"])
        assert command.help.splitlines()[0] in " ".join(result.output.split())


@pytest.fixture
def start(redis_url, tmp_path):
    """Starts `ragan api --host 0.0.0.0` and returns its address, and, once it is stopped, what it has printed."""
    environment = os.environ | {"REDIS_URL": redis_url, "RAGAN_STORE": str(tmp_path), "RAGAN_SOURCES": str(tmp_path)}

    def run(*options):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = str(probe.getsockname()[1])
        command = [sys.executable, "-m", "app", "api", "--host", "0.0.0.0", "--port", port, *options]  # noqa: S104
        log = (tmp_path / "log").open("w")
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        url = f"http://127.0.0.1:{port}"
        while process.poll() is None:
            try:
                httpx.get(f"{url}/healthz")
                break
            except httpx.TransportError:
                pass  # not listening yet

        def stop():
            process.send_signal(signal.SIGTERM)
            printed, _ = process.communicate()
            log.close()
            return printed, (tmp_path / "log").read_text()

        return url, stop

    return run


def test_an_open_address_gets_its_first_key_by_itself_and_shows_it_once(start, tmp_path):
    url, stop = start()
    assert httpx.get(f"{url}/v1/version").status_code == 401
    (key,) = Keyring(tmp_path / "keys.json").all()
    printed, log = stop()
    secret = printed.split()[-1]
    assert Keyring(tmp_path / "keys.json").find(secret) == key
    assert (key.scope, secret in log) == (Scope.ADMIN, False)

    url, stop = start()
    assert httpx.get(f"{url}/v1/version", headers={"Authorization": f"Bearer {secret}"}).status_code == 200
    assert stop()[0] == ""


def test_keys_are_switched_off_by_a_word_and_that_is_warned_of(start, tmp_path):
    Keyring(tmp_path / "keys.json").create("ada", Scope.READ)
    url, stop = start("--insecure")
    assert httpx.get(f"{url}/v1/version").status_code == 200
    printed, log = stop()
    assert printed == ""
    assert "whoever reaches 0.0.0.0" in log


@pytest.mark.parametrize("insecure", [True, False])
def test_the_whole_service_hands_the_word_on(insecure, tmp_path, monkeypatch, shared_settings):
    commands = []
    monkeypatch.setattr("app.stack.Supervisor.add", lambda _, name, command: commands.append((name, command)))
    monkeypatch.setattr("app.stack.Stack.wait_until_ready", lambda _: None)
    settings = shared_settings.model_copy(update={"store": tmp_path})
    with Stack(settings, "127.0.0.1", 0, insecure=insecure):
        (api,) = [command for name, command in commands if name == "api"]
    assert ("--insecure" in api) == insecure
