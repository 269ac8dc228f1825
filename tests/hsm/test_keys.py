"""Keys on a token are pyca private keys: the builders take them, and they give nothing away."""

import copy
import datetime as dt
import hashlib
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo, Prehashed, decode_dss_signature
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID
from pkcs11 import Attribute, KeyType, ObjectClass

from sealwright.errors import Conflict, InputError, KeyAttributeError, TokenError, TokenNotFound
from sealwright.hsm.census import list_private_key_ids
from sealwright.hsm.cryptoki import Cryptoki, CryptokiError
from sealwright.hsm.generation import _check_kind, generate_key
from sealwright.hsm.keys import private_key
from sealwright.hsm.objects import _unwrap, find_objects
from sealwright.hsm.session import TokenSession
from sealwright.hsm.token_key import VISIT, ecdsa_der
from sealwright.pki.keys import KeyKind, key_kind, throwaway_key
from sealwright.pki.signatures import SignatureScheme, schemes_of, sign_bytes, verify_bytes

NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "REHEARSAL hsm")])
NOW = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)
SHA = {KeyKind.P384: hashes.SHA384(), KeyKind.P521: hashes.SHA512(), KeyKind.ED25519: None}
EVERY_KIND = [KeyKind.RSA_3072, KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519]
EVERY_SCHEME = [(kind, scheme) for kind in EVERY_KIND for scheme in schemes_of(kind)]


def certificate(public, key, kind):
    builder = (
        x509.CertificateBuilder()
        .subject_name(NAME)
        .issuer_name(NAME)
        .public_key(public)
        .serial_number(0x1234)
        .not_valid_before(NOW)
        .not_valid_after(NOW + dt.timedelta(days=1))
    )
    return builder.sign(key, SHA.get(kind, hashes.SHA256()))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_a_certificate_signed_on_the_token_has_the_tbs_bytes_of_a_software_one(key_ring, kind):
    key = key_ring.keys[kind]

    on_token = certificate(key.public_key(), key, kind)
    in_software = certificate(key.public_key(), throwaway_key(kind), kind)

    assert on_token.tbs_certificate_bytes == in_software.tbs_certificate_bytes
    on_token.verify_directly_issued_by(on_token)


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_csr_and_crl_builders_take_the_key(key_ring, kind):
    key = key_ring.keys[kind]
    sha = SHA.get(kind, hashes.SHA256())

    csr = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, sha)
    crl = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW).next_update(NOW).sign(key, sha)

    assert csr.is_signature_valid
    assert crl.is_signature_valid(key.public_key())


def test_the_ocsp_builder_takes_the_key(key_ring):
    key = key_ring.keys[KeyKind.P256]
    responder = certificate(key.public_key(), key, KeyKind.P256)

    answer = (
        ocsp.OCSPResponseBuilder()
        .add_response(responder, responder, hashes.SHA1(), ocsp.OCSPCertStatus.GOOD, NOW, NOW, None, None)  # noqa: S303 - CertID
        .responder_id(ocsp.OCSPResponderEncoding.HASH, responder)
        .sign(key, hashes.SHA256())
    )

    key.public_key().verify(answer.signature, answer.tbs_response_bytes, ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize(("kind", "scheme"), EVERY_SCHEME)
def test_every_scheme_of_this_pki_verifies(key_ring, kind, scheme):
    for data in (b"", b"one line", os.urandom(300_000)):  # a CRL may be long
        signature = sign_bytes(key_ring.keys[kind], scheme, data)
        verify_bytes(key_ring.keys[kind].public_key(), scheme, data, signature)


def test_x509_builders_take_the_rsa_key_with_pss(key_ring):
    key = key_ring.keys[KeyKind.RSA_3072]
    pss = padding.PSS(padding.MGF1(hashes.SHA384()), padding.PSS.DIGEST_LENGTH)

    csr = x509.CertificateSigningRequestBuilder().subject_name(NAME).sign(key, hashes.SHA384(), rsa_padding=pss)

    assert csr.is_signature_valid
    assert csr.signature_algorithm_oid == x509.SignatureAlgorithmOID.RSASSA_PSS


@pytest.mark.parametrize("salt", [0, 32, padding.PSS.DIGEST_LENGTH, padding.PSS.MAX_LENGTH])
def test_pss_takes_every_salt_length_that_pyca_takes(key_ring, salt):
    key = key_ring.keys[KeyKind.RSA_3072]
    pss = padding.PSS(padding.MGF1(hashes.SHA256()), salt)

    key.public_key().verify(key.sign(b"data", pss, hashes.SHA256()), b"data", pss, hashes.SHA256())


@pytest.mark.parametrize("salt", [padding.PSS.AUTO, 10_000])
def test_pss_refuses_a_salt_length_that_cannot_be(key_ring, salt):
    with pytest.raises(ValueError, match="salt"):
        key_ring.keys[KeyKind.RSA_3072].sign(b"", padding.PSS(padding.MGF1(hashes.SHA256()), salt), hashes.SHA256())


PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


@pytest.mark.parametrize(
    ("padded", "algorithm"),
    [
        (padding.PKCS1v15(), hashes.SHA1()),  # noqa: S303 - refused
        (padding.PKCS1v15(), hashes.SHA224()),
        (padding.PKCS1v15(), Prehashed(hashes.SHA1())),  # noqa: S303 - refused
        (padding.PKCS1v15(), NoDigestInfo()),
        (PSS, hashes.SHA384()),
        (padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None), hashes.SHA256()),
    ],
    ids=["sha-1", "sha-224", "prehashed", "no digest info", "another hash in MGF1", "OAEP"],
)
def test_the_rsa_key_refuses_what_this_pki_does_not_sign_with(key_ring, padded, algorithm):
    with pytest.raises(UnsupportedAlgorithm, match="on token"):
        key_ring.keys[KeyKind.RSA_3072].sign(b"data", padded, algorithm)


@pytest.mark.parametrize("kind", [KeyKind.P256, KeyKind.P384, KeyKind.P521])
@pytest.mark.parametrize("algorithm", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()], ids=lambda sha: sha.name)
def test_ecdsa_takes_a_ready_digest_and_cuts_one_that_is_longer_than_the_order(key_ring, kind, algorithm):
    key = key_ring.keys[kind]
    digest = hashlib.new(algorithm.name, b"data").digest()

    signature = key.sign(digest, ec.ECDSA(Prehashed(algorithm)))

    key.public_key().verify(signature, b"data", ec.ECDSA(algorithm))
    key.public_key().verify(key.sign(bytearray(b"data"), ec.ECDSA(algorithm)), b"data", ec.ECDSA(algorithm))


def test_many_digests_are_signed_in_their_order(key_ring):
    key = key_ring.keys[KeyKind.P256]
    messages = [bytes([number]) * number for number in range(150)]
    signatures = key.sign_digests([hashlib.sha256(each).digest() for each in messages])
    for message, signature in zip(messages, signatures, strict=True):
        key.public_key().verify(signature, message, ec.ECDSA(hashes.SHA256()))
    with pytest.raises(ValueError, match="31 octets"):
        key.sign_digests([bytes(31)])
    assert key.sign_digests([]) == []


def digests(count):
    return [hashlib.sha256(bytes([number])).digest() for number in range(count)]


def test_much_work_is_done_by_two_sessions_at_once(key_ring, monkeypatch):
    """A call ends when the other is inside the token, too."""
    key, both, sessions = key_ring.keys[KeyKind.P256], threading.Barrier(2, timeout=60), set()

    def sign_each(cryptoki, session, *arguments):
        sessions.add(session)
        both.wait()
        return in_one_session(cryptoki, session, *arguments)

    in_one_session = Cryptoki.sign_each
    monkeypatch.setattr(Cryptoki, "sign_each", sign_each)
    assert len(key.sign_digests(digests(2 * VISIT))) == 2 * VISIT
    assert len(sessions) == 2


def test_when_one_of_many_is_not_signed_none_is_given(key_ring, monkeypatch):
    key, all_of_them = key_ring.keys[KeyKind.P256], digests(4 * VISIT)

    def sign_each(cryptoki, session, mechanism, handle, messages, octets):
        if all_of_them[2 * VISIT] in messages:
            raise CryptokiError(0x007)
        return in_one_session(cryptoki, session, mechanism, handle, messages, octets)

    in_one_session = Cryptoki.sign_each
    monkeypatch.setattr(Cryptoki, "sign_each", sign_each)
    with pytest.raises(TokenError, match="CKR_ARGUMENTS_BAD"):
        key.sign_digests(all_of_them)
    monkeypatch.undo()
    assert len(key.sign_digests(all_of_them)) == len(all_of_them)


def test_ecdsa_with_a_nonce_of_ones_own_is_refused(key_ring):
    with pytest.raises(UnsupportedAlgorithm, match="nonce drawn by the token"):
        key_ring.keys[KeyKind.P256].sign(b"data", ec.ECDSA(hashes.SHA256(), deterministic_signing=True))


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_the_private_half_stays_where_it_is(key_ring, kind):
    key = key_ring.keys[kind]
    pkcs8 = (serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())

    with pytest.raises(UnsupportedAlgorithm, match="leaves the token never"):
        key.private_bytes(*pkcs8)
    with pytest.raises(UnsupportedAlgorithm, match="leaves the token never"):
        key.private_numbers()
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(key)
    assert copy.copy(key) is key
    assert copy.deepcopy([key])[0] is key
    assert key_kind(key.public_key()) is kind


def test_a_key_that_signs_does_nothing_else(key_ring):
    with pytest.raises(UnsupportedAlgorithm, match="signs and does nothing else"):
        key_ring.keys[KeyKind.RSA_3072].decrypt(b"", padding.PKCS1v15())
    with pytest.raises(UnsupportedAlgorithm, match="signs and does nothing else"):
        key_ring.keys[KeyKind.P256].exchange(ec.ECDH(), throwaway_key(KeyKind.P256).public_key())
    with pytest.raises(UnsupportedAlgorithm, match="leaves the token never"):
        key_ring.keys[KeyKind.ED25519].private_bytes_raw()


def test_an_ed25519_key_signs_whole_messages(key_ring):
    key = key_ring.keys[KeyKind.ED25519]
    for message in (b"", b"checkpoint", os.urandom(20_000)):
        key.public_key().verify(key.sign(message), message)


def test_the_classes_are_pyca_s_and_say_their_size(key_ring):
    rsa_key, p521 = key_ring.keys[KeyKind.RSA_3072], key_ring.keys[KeyKind.P521]
    assert isinstance(rsa_key, rsa.RSAPrivateKey)
    assert isinstance(p521, ec.EllipticCurvePrivateKey)
    assert isinstance(key_ring.keys[KeyKind.ED25519], ed25519.Ed25519PrivateKey)
    assert (rsa_key.key_size, p521.key_size, p521.curve.name) == (3072, 521, "secp521r1")
    assert rsa_key.public_key().public_numbers().e == 65537


def test_one_key_serves_many_threads_at_once(key_ring):
    def sign(number: int) -> None:
        kind = EVERY_KIND[number % len(EVERY_KIND)]
        key, data = key_ring.keys[kind], number.to_bytes(4)
        if kind is KeyKind.ED25519:
            key.public_key().verify(key.sign(data), data)
        else:
            scheme = schemes_of(kind)[0]
            verify_bytes(key.public_key(), scheme, data, sign_bytes(key, scheme, data))

    with ThreadPoolExecutor(24) as threads:  # more threads than workers
        list(threads.map(sign, range(600)))


def test_a_key_is_found_again_by_its_id(key_ring):
    for kind, key_id in key_ring.ids.items():
        again = private_key(key_ring.session, key_id)
        assert again.public_key() == key_ring.keys[kind].public_key()
        assert (again.key_id, again.token_serial) == (key_id, key_ring.session.serial)
        assert key_id.hex() in repr(again)


@pytest.mark.slow
def test_the_largest_key_is_made_and_signs(session: TokenSession):
    key = generate_key(session, KeyKind.RSA_4096, key_id=b"largest", label="largest")
    scheme = SignatureScheme.RSA_PSS_SHA512
    verify_bytes(key.public_key(), scheme, b"data", sign_bytes(key, scheme, b"data"))


def test_an_id_that_is_there_already_is_never_used_again(key_ring):
    key_id = key_ring.ids[KeyKind.P256]

    with pytest.raises(Conflict, match=f"already holds a PRIVATE_KEY with CKA_ID {key_id.hex()}"):
        generate_key(key_ring.session, KeyKind.P256, key_id=key_id, label="another")

    assert private_key(key_ring.session, key_id).public_key() == key_ring.keys[KeyKind.P256].public_key()


def test_a_key_that_is_not_there_is_named(key_ring):
    with pytest.raises(TokenNotFound, match=f"{key_ring.session.serial} has no private key with CKA_ID 0bad") as caught:
        private_key(key_ring.session, b"\x0b\xad")
    assert "is this the token on which the key was made" in caught.value.hint


@pytest.mark.parametrize("key_id", [b"", b"x" * 65])
def test_an_id_that_could_match_anything_or_nothing_is_refused(key_ring, key_id):
    with pytest.raises(InputError, match="CKA_ID has"):
        private_key(key_ring.session, key_id)


@pytest.mark.parametrize("label", ["", "x" * 65, "two\nlines"])
def test_a_label_is_a_short_line_of_text(key_ring, label):
    with pytest.raises(InputError, match="label"):
        generate_key(key_ring.session, KeyKind.P256, key_id=b"label", label=label)


def test_an_ecdsa_answer_of_another_length_is_an_error():
    with pytest.raises(TokenError, match="63 octets; wanted 64 on secp256r1"):
        ecdsa_der(b"\1" * 63, ec.SECP256R1())
    assert decode_dss_signature(ecdsa_der(b"\0" * 31 + b"\1" + b"\0" * 31 + b"\2", ec.SECP256R1())) == (1, 2)


def test_an_ec_point_is_read_wrapped_or_raw():
    raw = bytes(range(32))
    assert _unwrap(raw, 32) == _unwrap(b"\x04\x20" + raw, 32) == raw
    with pytest.raises(ValueError, match="wanted 32"):
        _unwrap(b"\x04\x1f" + raw[1:], 32)


def put_public_key(session, attributes) -> None:
    """In place of the public half of the key b"k", something else."""
    with session._login.pool.borrow(writing=True) as worker:
        (public,) = find_objects(worker.native, ObjectClass.PUBLIC_KEY, b"k")
        public.destroy()
        common = {Attribute.CLASS: ObjectClass.PUBLIC_KEY, Attribute.ID: b"k", Attribute.TOKEN: True}
        worker.native.create_object(common | attributes)


def foreign_ec(parameters: str, point: bytes) -> dict[Attribute, object]:
    return {
        Attribute.KEY_TYPE: KeyType.EC,
        Attribute.EC_PARAMS: bytes.fromhex(parameters),
        Attribute.EC_POINT: point,
    }


DSA = (Attribute.PRIME, Attribute.SUBPRIME, Attribute.BASE, Attribute.VALUE)
P256_OID, UNKNOWN_OID, NULL = "06082a8648ce3d030107", "06032a0304", "0500"


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (foreign_ec(NULL, b"\x04\x00"), "cannot be read"),
        (foreign_ec(UNKNOWN_OID, b"\x04\x00"), "cannot be read"),
        (foreign_ec(P256_OID, b"\x04\x41\x04" + bytes(64)), "cannot be read"),
        ({Attribute.KEY_TYPE: KeyType.DSA} | dict.fromkeys(DSA, b"\3"), "is not RSA, EC or Ed25519"),
    ],
    ids=["no curve", "unknown curve", "point not on the curve", "DSA"],
)
def test_a_public_half_that_cannot_be_read_is_an_error_that_names_the_key(session, attributes, message):
    generate_key(session, KeyKind.P256, key_id=b"k", label="k")
    put_public_key(session, attributes)
    with pytest.raises(KeyAttributeError, match=f"key 6b on token {session.serial}.*{message}"):
        private_key(session, b"k")


def test_a_private_half_alone_is_no_key(session):
    generate_key(session, KeyKind.P256, key_id=b"k", label="k")
    with session._login.pool.borrow(writing=True) as worker:
        (public,) = find_objects(worker.native, ObjectClass.PUBLIC_KEY, b"k")
        public.destroy()
    with pytest.raises(TokenNotFound, match="has no public key with CKA_ID 6b"):
        private_key(session, b"k")


def test_a_token_that_makes_another_kind_than_ordered_is_noticed():
    _check_kind(throwaway_key(KeyKind.P384).public_key(), KeyKind.P384, "new key")
    with pytest.raises(KeyAttributeError, match="new key is P-256; ordered was P-384"):
        _check_kind(throwaway_key(KeyKind.P256).public_key(), KeyKind.P384, "new key")


def test_the_census_lists_the_private_keys_of_a_token(session):
    assert list_private_key_ids(session) == ()
    for key_id in (b"2", b"1"):
        generate_key(session, KeyKind.P256, key_id=key_id, label="k")
    assert list_private_key_ids(session) == (b"1", b"2")
