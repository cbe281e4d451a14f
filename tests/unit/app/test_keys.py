import hashlib
import hmac
import json
import re
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.keys import Keyring, Quotas, Scope
from worker.contract.errors import InvalidRequest, KeysUnusable, NotFound, WrongState
from worker.contract.settings import Settings


@pytest.fixture
def path(tmp_path):
    return tmp_path / "secrets" / "keys.json"


@pytest.fixture
def keyring(path):
    return Keyring(path)


def test_a_key_is_random_and_told_by_its_beginning(keyring):
    secrets = {keyring.create(f"key-{index}", Scope.READ) for index in range(20)}
    assert len(secrets) == 20
    assert all(re.fullmatch(r"rgn_[\w-]{43}", each) for each in secrets)  # 43 characters of base64 hold 256 bits


def test_what_is_kept_is_the_hash_and_only_its_owner_may_read_it(keyring, path):
    secret = keyring.create("ada", Scope.SUBMIT)
    (kept,) = json.loads(path.read_text())["keys"]
    assert kept["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert all(secret not in file.read_text() for file in path.parent.iterdir())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_key_is_found_and_what_is_almost_one_is_not(keyring):
    secret = keyring.create("ada", Scope.SUBMIT, Quotas(jobs=2))
    found = keyring.find(secret)
    assert (found.name, found.scope, found.quotas.jobs) == ("ada", Scope.SUBMIT, 2)
    for other in (
        "",
        "rgn_",
        secret[:-1],
        f"{secret}=",
        secret.upper(),
        secret[4:],
        found.sha256,
        "ä",
    ):
        assert keyring.find(other) is None


def test_every_key_is_compared_whichever_it_is_and_none_character_by_character(keyring, monkeypatch):
    secrets = [keyring.create(f"key-{index}", Scope.READ) for index in range(3)]
    compared = []

    def recorded(kept, given):
        compared.append(kept)
        return hmac_compare(kept, given)

    hmac_compare = hmac.compare_digest
    monkeypatch.setattr("app.keys.hmac.compare_digest", recorded)
    for given in [*secrets, "rgn_wrong"]:
        compared.clear()
        keyring.find(given)
        assert compared == [key.sha256 for key in keyring.all()]


def test_a_revoked_key_stops_at_once_for_who_has_read_the_file_before(keyring, path):
    secret, other = keyring.create("ada", Scope.SUBMIT), keyring.create("ben", Scope.READ)
    reader = Keyring(path)
    assert reader.find(secret)
    keyring.revoke("ada")
    assert reader.find(secret) is None
    assert reader.find(other).name == "ben"
    keyring.create("ada", Scope.READ)
    assert reader.find(secret) is None


def test_a_file_is_read_once_while_it_does_not_change(keyring, monkeypatch):
    secret = keyring.create("ada", Scope.READ)
    assert keyring.find(secret)
    monkeypatch.setattr("pathlib.Path.read_bytes", lambda _: pytest.fail("it was read again"))
    assert keyring.find(secret)


def test_names_are_plain_and_taken_once(keyring):
    keyring.create("ada@clinic-2.org", Scope.READ)
    with pytest.raises(WrongState, match="revoke it first"):
        keyring.create("ada@clinic-2.org", Scope.ADMIN)
    for name in ("", "-ada", "a" * 65, "ada\n", "../ada", "a:b"):
        with pytest.raises(InvalidRequest, match="cannot be the name"):
            keyring.create(name, Scope.READ)
    with pytest.raises(NotFound, match=r"Did you mean 'ada@clinic-2\.org'"):
        keyring.revoke("ada@clinic-2.com")


def test_of_those_who_make_keys_at_once_none_is_lost(path):
    with ThreadPoolExecutor(8) as makers:
        secrets = list(makers.map(lambda index: Keyring(path).create(f"key-{index}", Scope.READ), range(16)))
    assert all(Keyring(path).find(each) for each in secrets)


def test_the_first_key_is_made_once(path):
    with ThreadPoolExecutor(8) as makers:
        made = list(makers.map(lambda _: Keyring(path).create_first(), range(8)))
    (secret,) = filter(None, made)
    assert Keyring(path).find(secret).scope is Scope.ADMIN


def test_a_file_without_keys_is_still_a_file(keyring):
    assert not keyring.exists
    assert keyring.all() == ()
    keyring.create("ada", Scope.READ)
    keyring.revoke("ada")
    assert keyring.exists
    assert keyring.all() == ()


@pytest.mark.parametrize(
    "content",
    [b"", b"secret", b"[]", b'{"keys": [{"name": "secret"}]}', b'{"keys": [], "more": "secret"}', b"\xff\xfe"],
)
def test_a_file_that_is_none_of_keys_lets_nobody_in_and_is_not_quoted(keyring, path, content):
    path.parent.mkdir()
    path.write_bytes(content)
    with pytest.raises(KeysUnusable, match=r"keys\.json cannot be read") as unusable:
        keyring.find("rgn_x")
    assert "secret" not in str(unusable.value).replace("secrets/keys.json", "")
    with pytest.raises(KeysUnusable):
        keyring.create("ada", Scope.READ)
    assert path.read_bytes() == content


def test_a_file_that_others_may_write_is_not_trusted(keyring, path):
    secret = keyring.create("ada", Scope.READ)
    path.chmod(0o620)
    with pytest.raises(KeysUnusable, match="chmod 600"):
        keyring.find(secret)


def test_a_file_that_cannot_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(KeysUnusable, match="RAGAN_KEYS_FILE"):
        Keyring(tmp_path / "file" / "keys.json").create("ada", Scope.READ)


def test_the_file_is_in_the_store_unless_another_is_named(tmp_path):
    Keyring.of(Settings(store=tmp_path / "store")).create("ada", Scope.READ)
    assert (tmp_path / "store" / "keys.json").exists()
    Keyring.of(Settings(store=tmp_path / "store", keys_file=tmp_path / "named")).create("ada", Scope.READ)
    assert (tmp_path / "named").exists()


def test_each_scope_includes_those_before_it_and_blind_is_apart():
    included = {(mine, needed) for mine in Scope for needed in Scope if mine.includes(needed)}
    assert included == {
        (Scope.BLIND, Scope.BLIND),
        (Scope.READ, Scope.READ),
        (Scope.SUBMIT, Scope.READ),
        (Scope.SUBMIT, Scope.SUBMIT),
        *((Scope.ADMIN, needed) for needed in Scope if needed is not Scope.BLIND),
    }
