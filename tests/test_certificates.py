"""switchd.certificates: what the files must be, and that they are read again when they change."""

from __future__ import annotations

import base64
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from OpenSSL import SSL
from twisted.internet.task import Clock

from switchd import events
from switchd.certificates import LOOK_SECONDS, Certificates, Tls
from switchd.errors import UnusableOptions
from tests.authorities import Authority, key_pem, write
from tests.serving import Shout
from tests.wires import TLSWire, client_tls, one

AUTHORITY = Authority()
KEY, CERT = AUTHORITY.issue("one")
OTHER_KEY, OTHER_CERT = AUTHORITY.issue("other")


def certificates(folder: Path, clock: Clock | None = None, alpn: tuple[str, ...] = (), **options: Any) -> Certificates:
    given = {"certificate": "cert.pem", "key": "key.pem", **options}
    return Certificates(Tls(**given), folder, clock or Clock(), alpn)


def mistakes(folder: Path, **options: Any) -> dict[str, str]:
    """What is wrong, by key."""
    with pytest.raises(UnusableOptions) as caught:
        certificates(folder, **options)
    return {mistake.key: mistake.problem for mistake in caught.value.mistakes}


def of_unknown_version(certificate: bytes) -> bytes:
    """A certificate of X.509 version 8, which there is not."""
    encoded = x509.load_pem_x509_certificate(certificate).public_bytes(serialization.Encoding.DER)
    before, version, after = encoded.partition(bytes.fromhex("a003020102"))
    assert version
    text = base64.encodebytes(before + bytes.fromhex("a003020107") + after)
    return b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % text


UNREADABLE = of_unknown_version(CERT)


def session(creator: Any, **client: Any) -> TLSWire:
    """A client that has come to a session, or has not."""
    return TLSWire(one(Shout), None, creator, client_tls(**client))


class TestFiles:
    @pytest.mark.parametrize(
        "key",
        [
            ec.generate_private_key(ec.SECP384R1()),
            ed25519.Ed25519PrivateKey.generate(),
            rsa.generate_private_key(65537, 2048),
        ],
        ids=["elliptic curve", "Ed25519", "RSA"],
    )
    def test_may_hold_any_usual_kind_of_key(self, tmp_path: Path, key: Any) -> None:
        pems = AUTHORITY.issue(key=key)
        write(tmp_path, key=pems[0], cert=pems[1])
        wire = session(certificates(tmp_path))
        wire.send(b"hello")
        assert wire.received == b"HELLO"

    @pytest.mark.parametrize("together", [CERT + KEY, KEY + CERT], ids=["certificate first", "key first"])
    def test_may_be_one(self, tmp_path: Path, together: bytes) -> None:
        write(tmp_path, cert=together)
        assert session(certificates(tmp_path, key="")).name == "one"

    def test_send_the_chain_to_the_client(self, tmp_path: Path) -> None:
        between = Authority("between", by=AUTHORITY)
        key, cert = between.issue()
        write(tmp_path, key=key, cert=cert + between.pem)
        assert session(certificates(tmp_path)).names == ["localhost", "between"]

    def test_that_are_missing_are_mistakes_all_at_once(self, tmp_path: Path) -> None:
        options = {"client_certificates": "required", "client_ca": "ca.pem"}
        assert mistakes(tmp_path, **options) == {
            "certificate": f"{tmp_path}/cert.pem cannot be read: No such file or directory",
            "key": f"{tmp_path}/key.pem cannot be read: No such file or directory",
            "client_ca": f"{tmp_path}/ca.pem cannot be read: No such file or directory",
        }

    def test_that_are_one_and_missing_are_one_mistake(self, tmp_path: Path) -> None:
        assert list(mistakes(tmp_path, key="")) == ["certificate"]

    def test_that_are_folders_are_mistakes(self, tmp_path: Path) -> None:
        assert mistakes(tmp_path, certificate=".", key="") == {
            "certificate": f"{tmp_path} cannot be read: Is a directory"
        }

    def test_with_authorities_that_cannot_be_read_are_mistakes(self, tmp_path: Path) -> None:
        write(tmp_path, key=KEY, cert=CERT, ca=AUTHORITY.pem + UNREADABLE)
        problem = "holds no sound certificate in PEM; expected -----BEGIN CERTIFICATE-----"
        assert mistakes(tmp_path, client_certificates="required", client_ca="ca.pem") == {
            "client_ca": f"{tmp_path}/ca.pem {problem}"
        }

    def test_that_are_too_long_are_mistakes(self, tmp_path: Path) -> None:
        write(tmp_path, key=KEY, cert=b"\n" * 5_000_000)
        assert mistakes(tmp_path) == {"certificate": f"{tmp_path}/cert.pem is longer than 4194304 bytes"}

    @pytest.mark.parametrize(
        "content", [b"", b"junk", CERT[:200], CERT.replace(b"M", b"-"), KEY, b"\xff\x00", UNREADABLE, CERT + UNREADABLE]
    )
    def test_without_a_certificate_are_mistakes(self, tmp_path: Path, content: bytes) -> None:
        write(tmp_path, key=KEY, cert=content)
        problem = "holds no sound certificate in PEM; expected -----BEGIN CERTIFICATE-----"
        assert mistakes(tmp_path) == {"certificate": f"{tmp_path}/cert.pem {problem}"}

    @pytest.mark.parametrize("content", [b"", b"junk", KEY[:100], CERT, b"\xff\x00"])
    def test_without_a_key_are_mistakes(self, tmp_path: Path, content: bytes) -> None:
        write(tmp_path, key=content, cert=CERT)
        assert mistakes(tmp_path) == {
            "key": f"{tmp_path}/key.pem holds no sound private key in PEM; expected -----BEGIN PRIVATE KEY-----"
        }

    def test_with_a_passphrase_are_mistakes(self, tmp_path: Path) -> None:
        write(tmp_path, key=key_pem(ec.generate_private_key(ec.SECP256R1()), b"secret"), cert=CERT)
        assert mistakes(tmp_path) == {
            "key": f"{tmp_path}/key.pem is locked with a passphrase, which nobody could type; expected a key without"
        }

    def test_that_do_not_belong_together_are_mistakes(self, tmp_path: Path) -> None:
        write(tmp_path, key=OTHER_KEY, cert=CERT)
        assert mistakes(tmp_path) == {"key": f"{tmp_path}/key.pem holds another key than that of the certificate"}

    def test_that_openssl_thinks_too_weak_are_mistakes(self, tmp_path: Path) -> None:
        key, cert = AUTHORITY.issue(key=rsa.generate_private_key(65537, 1024))
        write(tmp_path, key=key, cert=cert)
        assert mistakes(tmp_path) == {"certificate": "OpenSSL does not take it: ee key too small"}

    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
    def test_warn_of_a_key_that_everybody_may_read(self, tmp_path: Path, mode: int, told: list[events.Event]) -> None:
        write(tmp_path, key=KEY, cert=CERT)
        (tmp_path / "key.pem").chmod(mode)
        certificates(tmp_path)
        assert told == ([events.ExposedKey(f"{tmp_path}/key.pem")] if mode == 0o644 else [])


class TestClients:
    def test_must_have_authorities_if_they_are_asked(self, tmp_path: Path) -> None:
        write(tmp_path, key=KEY, cert=CERT)
        missing = "missing; client certificates are asked for: expected a file of who vouches for them"
        assert mistakes(tmp_path, client_certificates="optional") == {"client_ca": missing}

    def test_have_no_authorities_unless_they_are_asked(self, tmp_path: Path) -> None:
        write(tmp_path, key=KEY, cert=CERT, ca=AUTHORITY.pem)
        useless = 'of no use while client_certificates is "none"; expected "optional" or "required" there'
        assert mistakes(tmp_path, client_ca="ca.pem") == {"client_ca": useless}

    @pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])
    @pytest.mark.parametrize("asked", ["none", "optional", "required"])
    @pytest.mark.parametrize("shown", ["nothing", "ours", "a stranger's"])
    def test_are_let_in_as_configured(self, tmp_path: Path, asked: str, shown: str, version: int) -> None:
        write(tmp_path, key=KEY, cert=CERT, ca=AUTHORITY.pem)
        options: dict[str, Any] = {"client_ca": "ca.pem"} if asked != "none" else {}
        identities = {"nothing": None, "ours": AUTHORITY.issue("me"), "a stranger's": Authority("stranger").issue("me")}
        wire = session(
            certificates(tmp_path, client_certificates=asked, **options),
            identity=identities[shown],
            oldest=version,
            newest=version,
        )
        lets_in = asked == "none" or shown == "ours" or (asked, shown) == ("optional", "nothing")
        if lets_in:
            wire.send(b"hello")
        assert wire.received == (b"HELLO" if lets_in else b"")
        assert wire.closed == (not lets_in)


class TestSessions:
    def test_are_the_newest_that_both_know(self, tmp_path: Path) -> None:
        write(tmp_path, key=KEY, cert=CERT)
        assert session(certificates(tmp_path)).version == "TLSv1.3"
        assert session(certificates(tmp_path), newest=SSL.TLS1_2_VERSION).version == "TLSv1.2"

    @pytest.mark.parametrize(
        ("minimum", "newest"), [("1.2", SSL.TLS1_1_VERSION), ("1.3", SSL.TLS1_2_VERSION)], ids=["1.2", "1.3"]
    )
    def test_are_not_older_than_configured(self, tmp_path: Path, minimum: str, newest: int) -> None:
        write(tmp_path, key=KEY, cert=CERT)
        made = certificates(tmp_path, minimum_version=minimum)
        for creator in (made, made.at_least("1.2"), made.at_least(minimum)):
            wire = session(creator, oldest=SSL.TLS1_VERSION, newest=newest, ciphers=b"ALL:@SECLEVEL=0")
            assert wire.closed

    def test_may_be_asked_to_be_newer(self, tmp_path: Path) -> None:
        write(tmp_path, key=KEY, cert=CERT)
        made = certificates(tmp_path)
        assert session(made.at_least("1.3"), newest=SSL.TLS1_2_VERSION).closed
        assert session(made.at_least("1.3")).version == "TLSv1.3"
        assert session(made.at_least("1.2"), newest=SSL.TLS1_2_VERSION).version == "TLSv1.2"

    @pytest.mark.parametrize("kind", [ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)])
    def test_have_no_cipher_suite_that_http2_forbids(self, tmp_path: Path, kind: Any) -> None:
        key, cert = AUTHORITY.issue(key=kind)
        write(tmp_path, key=key, cert=cert)
        made = certificates(tmp_path)
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_cipher_list(b"ALL:@SECLEVEL=0")
        agreed = set()
        for suite in SSL.Connection(context, None).get_cipher_list():
            if not suite.startswith("TLS_"):  # those of TLS 1.3, all of which are fine
                newest = SSL.TLS1_2_VERSION
                agreed.add(session(made, newest=newest, ciphers=f"{suite}:@SECLEVEL=0".encode()).cipher)
        sort = "RSA" if isinstance(kind, rsa.RSAPrivateKey) else "ECDSA"
        assert agreed - {None} == {
            f"ECDHE-{sort}-AES128-GCM-SHA256",
            f"ECDHE-{sort}-AES256-GCM-SHA384",
            f"ECDHE-{sort}-CHACHA20-POLY1305",
        }

    @pytest.mark.parametrize(
        ("ours", "theirs", "agreed"),
        [
            (("h2", "http/1.1"), (b"http/1.1", b"h2"), b"h2"),
            (("http/1.1", "h2"), (b"h2", b"http/1.1"), b"http/1.1"),
            (("http/1.1",), (b"h2", b"http/1.1"), b"http/1.1"),
            (("h2", "http/1.1"), (), b""),
            ((), (), b""),
        ],
    )
    def test_have_by_alpn_what_the_server_likes_best(
        self, tmp_path: Path, ours: tuple[str, ...], theirs: tuple[bytes, ...], agreed: bytes
    ) -> None:
        write(tmp_path, key=KEY, cert=CERT)
        wire = session(certificates(tmp_path, alpn=ours), alpn=theirs)
        wire.send(b"hello")
        assert (wire.alpn, wire.received) == (agreed, b"HELLO")

    @pytest.mark.parametrize("version", [SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION], ids=["TLS 1.2", "TLS 1.3"])
    def test_are_not_for_a_client_that_knows_nothing_of_ours(self, tmp_path: Path, version: int) -> None:
        write(tmp_path, key=KEY, cert=CERT)
        wire = session(certificates(tmp_path, alpn=("h2",)), alpn=(b"spdy/1",), oldest=version, newest=version)
        assert wire.closed


class TestRenewal:
    """A new connection gets what is in the files, looked at once a second at most."""

    def test_is_seen_by_the_next_connection(self, tmp_path: Path, told: list[events.Event]) -> None:
        clock = Clock()
        write(tmp_path, key=KEY, cert=CERT)
        made = certificates(tmp_path, clock)
        before = session(made)
        write(tmp_path, key=OTHER_KEY, cert=OTHER_CERT)
        clock.advance(LOOK_SECONDS)
        after = session(made)
        assert (before.name, after.name) == ("one", "other")
        assert session(made.at_least("1.3")).name == "other"
        before.send(b"still here")
        assert before.received == b"STILL HERE"
        assert [each for each in told if not isinstance(each, events.ExposedKey)] == [
            events.Renewed(f"{tmp_path}/cert.pem")
        ]

    def test_is_looked_for_once_a_second(self, tmp_path: Path) -> None:
        clock = Clock()
        write(tmp_path, key=KEY, cert=CERT)
        made = certificates(tmp_path, clock)
        write(tmp_path, key=OTHER_KEY, cert=OTHER_CERT)
        clock.advance(LOOK_SECONDS / 2)
        assert session(made).name == "one"
        clock.advance(LOOK_SECONDS / 2)
        assert session(made).name == "other"

    def test_may_be_by_other_files_with_the_same_names(self, tmp_path: Path) -> None:
        """As certbot does it: the names are links."""
        clock = Clock()
        for name, (key, cert) in {"1": (KEY, CERT), "2": (OTHER_KEY, OTHER_CERT)}.items():
            (tmp_path / name).mkdir()
            write(tmp_path / name, key=key, cert=cert)
        (tmp_path / "live").symlink_to("1")
        made = certificates(tmp_path / "live", clock)
        (tmp_path / "new").symlink_to("2")
        os.replace(tmp_path / "new", tmp_path / "live")
        clock.advance(LOOK_SECONDS)
        assert session(made).name == "other"

    def test_in_two_steps_keeps_the_old_one_until_the_second(
        self, tmp_path: Path, told: list[events.Event], logged: list[type[BaseException]]
    ) -> None:
        clock = Clock()
        for name in ("key.pem", "cert.pem"):
            (tmp_path / name).touch(mode=0o600)
        write(tmp_path, key=KEY, cert=CERT)
        made = certificates(tmp_path, clock)
        write(tmp_path, cert=OTHER_CERT)
        for _ in range(3):
            clock.advance(LOOK_SECONDS)
            assert session(made).name == "one"
        write(tmp_path, key=OTHER_KEY)
        clock.advance(LOOK_SECONDS)
        assert session(made).name == "other"
        file, why = f"{tmp_path}/cert.pem", f"key: {tmp_path}/key.pem holds another key than that of the certificate"
        assert told == [events.NotRenewed(file, why), events.Renewed(file)]
        assert logged == []

    @pytest.mark.parametrize("how", ["gone", "junk", "half", "unreadable"])
    def test_that_fails_keeps_the_old_one_and_says_so_once(
        self, tmp_path: Path, how: str, told: list[events.Event]
    ) -> None:
        clock = Clock()
        write(tmp_path, cert=CERT + KEY)
        (tmp_path / "cert.pem").chmod(0o600)
        made = certificates(tmp_path, clock, key="")
        if how == "gone":
            (tmp_path / "cert.pem").unlink()
        else:
            write(tmp_path, cert={"junk": b"junk", "half": OTHER_CERT, "unreadable": UNREADABLE + KEY}[how])
        for _ in range(3):
            clock.advance(LOOK_SECONDS)
            assert session(made).name == "one"
        assert [type(each) for each in told] == [events.NotRenewed]

    def test_is_tried_again_where_a_file_could_not_be_read(
        self, tmp_path: Path, told: list[events.Event], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Though nothing about it has changed: there were no descriptors left, say."""

        def refuse(*arguments: Any) -> Any:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

        clock = Clock()
        write(tmp_path, cert=CERT + KEY)
        (tmp_path / "cert.pem").chmod(0o600)
        made = certificates(tmp_path, clock, key="")
        write(tmp_path, cert=OTHER_CERT + OTHER_KEY)
        with monkeypatch.context() as patched:
            patched.setattr("switchd.certificates.open", refuse, raising=False)
            for _ in range(3):
                clock.advance(LOOK_SECONDS)
                assert session(made).name == "one"
        assert not made.are_those_of(certificates(tmp_path, clock, key=""))
        clock.advance(LOOK_SECONDS)
        assert session(made).name == "other"
        assert [type(each) for each in told] == [events.NotRenewed, events.Renewed]
        assert made.are_those_of(certificates(tmp_path, clock, key=""))

    def test_that_has_failed_is_not_what_is_served(self, tmp_path: Path) -> None:
        clock = Clock()
        write(tmp_path, cert=CERT, key=KEY)
        made = certificates(tmp_path, clock)
        write(tmp_path, cert=OTHER_CERT)
        clock.advance(LOOK_SECONDS)
        assert session(made).name == "one"
        write(tmp_path, key=OTHER_KEY)
        assert not made.are_those_of(certificates(tmp_path, clock))

    def test_fails_whatever_a_library_raises(
        self, tmp_path: Path, told: list[events.Event], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """And the connection that came, and had the files read, is served."""

        def load(*arguments: Any) -> None:
            raise RuntimeError("unheard of")

        clock = Clock()
        write(tmp_path, cert=CERT + KEY)
        (tmp_path / "cert.pem").chmod(0o600)
        made = certificates(tmp_path, clock, key="")
        monkeypatch.setattr("switchd.certificates.load_pem_private_key", load)
        write(tmp_path, cert=OTHER_CERT + OTHER_KEY)
        clock.advance(LOOK_SECONDS)
        assert session(made).name == "one"
        assert told == [events.NotRenewed(f"{tmp_path}/cert.pem", "unheard of")]

    def test_takes_a_clock_that_is_set_back(self, tmp_path: Path) -> None:
        clock = Clock()
        clock.rightNow = 1000.0
        write(tmp_path, key=KEY, cert=CERT)
        made = certificates(tmp_path, clock)
        write(tmp_path, key=OTHER_KEY, cert=OTHER_CERT)
        clock.rightNow = 10.0
        assert session(made).name == "other"

    def test_concerns_the_authorities_of_clients_too(self, tmp_path: Path) -> None:
        clock = Clock()
        new = Authority("new")
        write(tmp_path, key=KEY, cert=CERT, ca=AUTHORITY.pem)
        made = certificates(tmp_path, clock, client_certificates="required", client_ca="ca.pem")
        assert session(made, identity=new.issue()).closed
        write(tmp_path, ca=AUTHORITY.pem + new.pem)
        clock.advance(LOOK_SECONDS)
        assert not session(made, identity=new.issue()).closed
