"""Signing real files with the certificate, its key on the token: by OpenSSL, and by what else is on this machine."""

import os
import shutil
import zipfile
from pathlib import Path
from urllib.parse import quote

from cryptography import x509

from sealwright.cli.quickstart import verifiers
from sealwright.cli.quickstart.cast import TEAM
from sealwright.cli.quickstart.place import Place
from sealwright.cli.quickstart.status import fetch_crls
from sealwright.cli.quickstart.story import Story
from sealwright.errors import Unavailable
from sealwright.hsm.certificates import store_certificate
from sealwright.hsm.module import find_softhsm, load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.hsm.token import find_token

_ENGINES = ("/usr/lib/x86_64-linux-gnu/engines-3/pkcs11.so", "/usr/lib/aarch64-linux-gnu/engines-3/pkcs11.so")


def sign_files(place: Place, story: Story) -> dict[str, str]:
    """Detached CMS with OpenSSL, always; a Windows program and a JAR where their signers are on this machine."""
    content, signature = place.work / "signed.bin", place.work / "signed.p7s"
    content.write_bytes(_release())
    story.tell("OpenSSL signs through PKCS#11; the PIN is read from its file, the key does not leave the token:")
    story.run(
        "openssl cms -sign -binary -md sha256 -in {content} -outform DER -out {signature} -signer {leaf} "
        "-certfile {issuing} -engine pkcs11 -keyform engine -inkey {key}",
        content=content,
        signature=signature,
        leaf=place.work / "leaf.pem",
        issuing=place.pki / "issuing.pem",
        key=key_uri(place),
    )
    story.word(verifiers.cms(signature, content, place.pki / "root.pem"))
    _sign_pe(place, story)
    _sign_jar(place, story)
    return {}


def key_uri(place: Place) -> str:
    """The team's key as a PKCS#11 URI (RFC 7512), with the PIN's file as an attribute, as OpenSSL's engine wants it."""
    key_id = place.state.facts["key_id"]
    octets = "".join(f"%{key_id[i : i + 2]}" for i in range(0, len(key_id), 2))
    serial = quote(place.state.facts["team_token"], safe="")
    return f"pkcs11:serial={serial};id={octets};type=private;pin-source=file:{place.pins / 'team.pin'}"


def _sign_pe(place: Place, story: Story) -> None:
    program, engine = _windows_program(), next((path for path in _ENGINES if Path(path).exists()), None)
    if shutil.which("osslsigncode") is None or program is None or engine is None:
        story.tell("osslsigncode is not on this machine, so no Windows program is signed (Debian: osslsigncode)")
        return
    fetch_crls(place)
    signed = place.work / "signed.exe"
    signed.unlink(missing_ok=True)
    chain = place.work / "leaf-chain.pem"
    chain.write_bytes((place.work / "leaf.pem").read_bytes() + (place.pki / "issuing.pem").read_bytes())
    story.tell("and a Windows program, for Authenticode:")
    story.run(
        "osslsigncode sign -h sha256 -pkcs11engine {engine} -pkcs11module {module} -certs {chain} -key {key} "
        "-in {program} -out {signed}",
        engine=engine,
        module=place.environment["PKCS11_MODULE_PATH"],
        chain=chain,
        key=key_uri(place),
        program=program,
        signed=signed,
    )
    story.word(verifiers.authenticode(signed, place.pki / "root.pem", place.work / "crls.pem"))


def _sign_jar(place: Place, story: Story) -> None:
    if shutil.which("jarsigner") is None or shutil.which("keytool") is None:
        story.tell("jarsigner is not on this machine, so no JAR is signed (Debian: default-jdk-headless)")
        return
    slot = _store_on_token(place)
    story.tell("and a JAR; Java wants to find the certificate on the token, so it was put beside its key:")
    provider, unsigned, signed = place.work / "pkcs11.cfg", place.work / "release.jar", place.work / "signed.jar"
    provider.write_text(f"name = Team\nlibrary = {place.environment['PKCS11_MODULE_PATH']}\nslot = {slot}\n")
    with zipfile.ZipFile(unsigned, "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "Manifest-Version: 1.0\r\n\r\n")
        jar.write(place.work / "signed.bin", "release.bin")
    chain = place.work / "chain-to-root.pem"
    certificates = (place.work / "leaf.pem", place.pki / "issuing.pem", place.pki / "root.pem")
    chain.write_bytes(b"".join(path.read_bytes() for path in certificates))
    story.run(
        "jarsigner -keystore NONE -storetype PKCS11 -addprovider SunPKCS11 -providerArg {provider} "
        "-storepass:file {pin} -certchain {chain} -signedjar {signed} {unsigned} {alias}",
        provider=provider,
        pin=place.pins / "team.pin",
        chain=chain,
        signed=signed,
        unsigned=unsigned,
        alias=TEAM,
    )
    story.word(verifiers.java_archive(signed, place.pki / "root.pem", place.work))


def _store_on_token(place: Place) -> int:
    """The leaf beside its key on the team's token. Returns the token's slot, which is how Java names a token."""
    os.environ.update(place.environment)
    module = load_module(find_softhsm())
    serial = place.state.facts["team_token"]
    leaf = x509.load_pem_x509_certificate((place.work / "leaf.pem").read_bytes())
    with TokenSession.open(module, serial, Pin.from_file(place.pins / "team.pin")) as session:
        store_certificate(session, leaf, key_id=bytes.fromhex(place.state.facts["key_id"]), label=TEAM)
    # To this process, which may have made it, the token is still in the slot where it was blank.
    module.reinitialise(module.generation)
    return find_token(module, serial).slot_id


def _windows_program() -> Path | None:
    """A small PE that is on every machine of ours: the launcher inside pip."""
    try:
        from pip._vendor import distlib
    except ImportError:
        return None
    path = Path(distlib.__file__).with_name("w64.exe")
    return path if path.exists() else None


def _release() -> bytes:
    """The file to sign: this program's own source, which is as real as a file can be here."""
    source = Path(verifiers.__file__)
    data = source.read_bytes()
    if not data:
        raise Unavailable(f"{source} is empty")
    return data
