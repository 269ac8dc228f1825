"""Where to look: the paths that certificates name, under the URL that is watched (the public name, a node, a cache)."""

from collections.abc import Iterable
from typing import Final

import httpx
from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID

from sealwright.errors import InputError, Unavailable

FILE_LIMIT: Final = 256 << 20
"""Octets of a CRL: some six million entries."""
_TAILS: Final = ("/crl/", "/ca/", "/ocsp")


def check_base(url: str) -> str:
    """The URL without a slash at its end. Raises ``InputError``."""
    try:
        parts = httpx.URL(url)
        right = parts.scheme in {"http", "https"} and parts.host and not parts.query and not parts.fragment
    except httpx.InvalidURL:
        right = False
    if not right:
        raise InputError(f"the URL is {url[:200]!r}; wanted http://HOST[:PORT]", hint="where verifiers ask: CRLs, OCSP")
    return url.rstrip("/")


def path_of(url: str) -> str:
    """``/crl/issuing-1.crl`` of ``http://pki.example.org/pki/crl/issuing-1.crl``: what stands under any base."""
    for tail in _TAILS:
        place = url.rfind(tail)
        if place >= 0:
            return url[place:]
    raise InputError(f"a certificate names {url[:200]!r}, which is no URL of such a PKI")


def crl_path(certificate: x509.Certificate) -> str | None:
    """Of the first distribution point; None when it names none."""
    try:
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    except x509.ExtensionNotFound:
        return None
    for point in points:
        for name in point.full_name or ():
            return path_of(str(name.value))
    return None


def issuer_paths(certificates: Iterable[x509.Certificate]) -> frozenset[str]:
    """Where they say that their issuer's certificate is."""
    found: set[str] = set()
    for certificate in certificates:
        try:
            access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess).value
        except x509.ExtensionNotFound:
            continue
        found.update(
            path_of(str(each.access_location.value))
            for each in access
            if each.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        )
    return frozenset(found)


class Web:
    """Plain GET and POST, without a proxy, redirect or cache of ours. Raises ``Unavailable``."""

    def __init__(self, base: str, *, timeout: float = 15.0) -> None:
        self.base = base
        tls = not base.startswith("http:")  # otherwise no time is spent on reading certificates that nobody asks for
        self._http = httpx.Client(timeout=timeout, trust_env=False, follow_redirects=False, verify=tls)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, *, wanted_type: str, limit: int = FILE_LIMIT) -> bytes:
        return self._send("GET", path, wanted_type, limit, None)

    def post(self, path: str, body: bytes, *, content_type: str, wanted_type: str, limit: int) -> bytes:
        return self._send("POST", path, wanted_type, limit, (body, content_type))

    def _send(self, method: str, path: str, wanted_type: str, limit: int, content: tuple[bytes, str] | None) -> bytes:
        headers = {"Content-Type": content[1]} if content else {}
        url = f"{self.base}{path}"
        shown = url if len(url) <= 120 else f"{url[:117]}..."
        data = bytearray()
        try:
            with self._http.stream(method, url, content=content[0] if content else None, headers=headers) as answer:
                for chunk in answer.iter_bytes():
                    data += chunk
                    if len(data) > limit:
                        raise Unavailable(f"{shown} answers with more than {limit} octets")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"{shown} does not answer: {str(error) or type(error).__name__}") from error
        if answer.status_code != httpx.codes.OK:
            raise Unavailable(f"{shown} answers {answer.status_code}")
        kind = answer.headers.get("content-type", "")
        if kind != wanted_type:
            raise Unavailable(f"{shown} answers with {kind[:60] or 'no type'}; wanted {wanted_type}")
        return bytes(data)
