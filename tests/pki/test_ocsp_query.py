"""The request reader against pyca's and OpenSSL's requests, and against everything that is none."""

import base64
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from hypothesis import given, settings
from hypothesis import strategies as st

from sealwright.errors import InputError
from sealwright.pki import der
from sealwright.pki.keys import KeyKind
from sealwright.pki.ocsp import cert_id
from sealwright.pki.ocsp_query import QUERY_LIMIT, CertIDForm, OCSPQuery, parse_ocsp_query
from softpki import SoftPKI, soft_pki, software_key

ALGORITHMS = {CertIDForm.SHA1: hashes.SHA1(), CertIDForm.SHA256: hashes.SHA256()}  # noqa: S303  # a CertID's hash
NAME, KEY = bytes(range(20)), bytes(range(20, 40))
PLAIN = (
    ocsp.OCSPRequestBuilder()
    .add_certificate_by_hash(NAME, KEY, 0x1234, ALGORITHMS[CertIDForm.SHA1])
    .build()
    .public_bytes(Encoding.DER)
)


@pytest.fixture(scope="module")
def pki() -> SoftPKI:
    return soft_pki()


@pytest.fixture(scope="module")
def files(pki: SoftPKI, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("query")
    (folder / "ca.pem").write_bytes(pki.issuing.public_bytes(Encoding.PEM))
    leaf = pki.issue(software_key(KeyKind.P256, "leaf"))
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    return folder


def cert_id_der(
    form: CertIDForm | bytes = CertIDForm.SHA1, serial: bytes = b"\x12\x34", null: bytes = b"\x05\x00"
) -> bytes:
    oids = {CertIDForm.SHA1: "1.3.14.3.2.26", CertIDForm.SHA256: "2.16.840.1.101.3.4.2.1"}
    oid = form if not isinstance(form, CertIDForm) else der.oid(oids[form])
    size = 32 if form is CertIDForm.SHA256 else 20
    return der.sequence(
        der.sequence(oid, null),
        der.octet_string(bytes(size)),
        der.octet_string(bytes(size)),
        der.encode(der.INTEGER, serial),
    )


def request(*certids: bytes, before: bytes = b"", extensions: bytes | None = None, after: bytes = b"") -> bytes:
    tail = b"" if extensions is None else der.encode(der.context(2), der.sequence(extensions))
    requests = der.sequence(*(der.sequence(each) for each in certids))
    return der.sequence(der.sequence(before, requests, tail), after)


def nonce(length: int) -> bytes:
    return der.extension(der.oid("1.3.6.1.5.5.7.48.1.2"), der.octet_string(bytes(length)))


@pytest.mark.parametrize("form", CertIDForm)
def test_reads_what_pyca_asks(pki: SoftPKI, form: CertIDForm) -> None:
    leaf = pki.issue(software_key(KeyKind.P256, "leaf"))
    builder = ocsp.OCSPRequestBuilder().add_certificate(leaf, pki.issuing, ALGORITHMS[form])
    for asked in (builder, builder.add_extension(x509.OCSPNonce(bytes(32)), critical=False)):
        query = parse_ocsp_query(asked.build().public_bytes(Encoding.DER))
        assert query == OCSPQuery(form, *cert_id(form, pki.issuing), leaf.serial_number)


@pytest.mark.parametrize("form", CertIDForm)
@pytest.mark.parametrize("option", ["-nonce", "-no_nonce"])
def test_reads_what_openssl_asks(pki: SoftPKI, files: Path, form: CertIDForm, option: str) -> None:
    out = files / f"{form}{option}.der"
    subprocess.run(
        [
            "openssl",
            "ocsp",
            f"-{form}",
            "-issuer",
            files / "ca.pem",
            "-cert",
            files / "leaf.pem",
            option,
            "-reqout",
            out,
        ],
        check=True,
        capture_output=True,
    )
    serial = x509.load_pem_x509_certificate((files / "leaf.pem").read_bytes()).serial_number
    assert parse_ocsp_query(out.read_bytes()) == OCSPQuery(form, *cert_id(form, pki.issuing), serial)


def test_of_several_certids_the_first_is_taken_also_from_a_signed_request(pki: SoftPKI, files: Path) -> None:
    (files / "key.pem").write_bytes(pem_of_leaf_key())
    out = files / "two.der"
    subprocess.run(
        [
            *("openssl", "ocsp", "-issuer", files / "ca.pem", "-cert", files / "leaf.pem", "-serial", "77"),
            *("-sha256", "-serial", "99", "-signer", files / "leaf.pem", "-signkey", files / "key.pem", "-reqout", out),
        ],
        check=True,
        capture_output=True,
    )
    query = parse_ocsp_query(out.read_bytes())
    assert query.serial == x509.load_pem_x509_certificate((files / "leaf.pem").read_bytes()).serial_number
    assert query.form is CertIDForm.SHA1


def pem_of_leaf_key() -> bytes:
    from cryptography.hazmat.primitives.serialization import NoEncryption, PrivateFormat

    return software_key(KeyKind.P256, "leaf").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


ACCEPTED = {
    "explicit v1": request(cert_id_der(), before=b"\xa0\x03\x02\x01\x00"),
    "a requestor name": request(cert_id_der(), before=der.encode(0xA1, b"\x82\x01x")),
    "no parameters": request(cert_id_der(null=b"")),
    "two": request(cert_id_der(), cert_id_der(CertIDForm.SHA256)),
    "nonce of 1": request(cert_id_der(), extensions=nonce(1)),
    "nonce of 128": request(cert_id_der(), extensions=nonce(128)),
    "a signature": request(cert_id_der(), after=der.encode(0xA0, b"\x30\x00")),
    "an extension nobody knows": request(cert_id_der(), extensions=der.extension(der.oid("1.2.3"), b"?")),
}


@pytest.mark.parametrize("data", ACCEPTED.values(), ids=ACCEPTED)
def test_accepts(data: bytes) -> None:
    assert parse_ocsp_query(data) == OCSPQuery(CertIDForm.SHA1, bytes(20), bytes(20), 0x1234)


def test_a_hash_that_nothing_is_answered_with_is_a_request_all_the_same() -> None:
    query = parse_ocsp_query(request(cert_id_der(der.oid("2.16.840.1.101.3.4.2.2"))))
    assert query.form is None


REFUSED = {
    "empty": b"",
    "garbage": b"\x00\xff" * 40,
    "text": b"GET / HTTP/1.1",
    "base64": base64.b64encode(PLAIN),
    "too long": request(cert_id_der(), extensions=der.extension(der.oid("1.2.3"), bytes(QUERY_LIMIT))),
    "cut": PLAIN[:-1],
    "followed": PLAIN + b"\x00",
    "indefinite": b"\x30\x80" + PLAIN[2:] + b"\x00\x00",
    "long length": b"\x30\x81" + PLAIN[1:],
    "v2": request(cert_id_der(), before=b"\xa0\x03\x02\x01\x01"),
    "no request": request(),
    "no certid": request(b""),
    "nonce of 0": request(cert_id_der(), extensions=nonce(0)),
    "nonce of 129": request(cert_id_der(), extensions=nonce(129)),
    "two nonces": request(cert_id_der(), extensions=nonce(8) + nonce(8)),
    "raw nonce": request(cert_id_der(), extensions=der.extension(der.oid("1.3.6.1.5.5.7.48.1.2"), b"12345678")),
    "critical unknown": request(
        cert_id_der(), extensions=der.sequence(der.oid("1.2.3"), b"\x01\x01\xff", der.octet_string(b"?"))
    ),
    "no serial octets": request(cert_id_der(serial=b"")),
    "padded serial": request(cert_id_der(serial=b"\x00\x01")),
    "parameters": request(cert_id_der(null=b"\x02\x01\x01")),
    "hash of another length": request(cert_id_der(der.oid("2.16.840.1.101.3.4.2.1"))),
    "tail in certid": request(der.sequence(cert_id_der()[2:], b"\x05\x00")),
    "trailing in list": der.sequence(der.sequence(der.sequence(der.sequence(cert_id_der()), b"\x05\x00"))),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refuses(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_ocsp_query(data)


@given(st.binary(max_size=400))
@settings(deadline=None)
def test_only_an_input_error_comes_out_of_noise(data: bytes) -> None:
    with pytest.raises(InputError):
        parse_ocsp_query(data)


SHAPES = [*ACCEPTED.values(), PLAIN]


@given(st.data())
@settings(max_examples=500, deadline=None)
def test_only_an_input_error_comes_out_of_damage_and_what_is_read_pyca_reads_alike(data: st.DataObject) -> None:
    shape = bytearray(data.draw(st.sampled_from(SHAPES)))
    for _ in range(data.draw(st.integers(0, 4))):
        at = data.draw(st.integers(0, len(shape) - 1))
        match data.draw(st.sampled_from(["set", "cut", "insert"])):
            case "set":
                shape[at] = data.draw(st.integers(0, 255))
            case "cut" if len(shape) > 2:
                del shape[at]
            case _:
                shape.insert(at, data.draw(st.integers(0, 255)))
    try:
        query = parse_ocsp_query(bytes(shape))
    except InputError:
        return
    try:
        read = ocsp.load_der_ocsp_request(bytes(shape))
        theirs = (read.hash_algorithm.name, read.issuer_name_hash, read.issuer_key_hash, read.serial_number)
    except UnsupportedAlgorithm:
        assert query.form is None  # a hash that neither of us has answers for
        return
    except (ValueError, NotImplementedError, x509.UnsupportedGeneralNameType):
        return  # pyca refuses several CertIDs and what we step over
    assert query.form is None or query == OCSPQuery(CertIDForm(theirs[0]), *theirs[1:])


@given(st.sampled_from(list(CertIDForm)), st.binary(min_size=32, max_size=32), st.integers(1, 2**159 - 1))
@settings(deadline=None)
def test_reads_any_request_of_pycas(form: CertIDForm, digest: bytes, serial: int) -> None:
    size = ALGORITHMS[form].digest_size
    asked = ocsp.OCSPRequestBuilder().add_certificate_by_hash(digest[:size], digest[-size:], serial, ALGORITHMS[form])
    query = parse_ocsp_query(asked.build().public_bytes(Encoding.DER))
    assert query == OCSPQuery(form, digest[:size], digest[-size:], serial)
