"""django-ca as a peer: how many certificates a second its ``sign_cert`` makes, in a virtual environment of its own.

``create_cert`` is what its command ``sign_cert`` calls. Its CA key is in memory and its rows are in SQLite on the disk
that is measured. It verifies no request's signature, checks no policy, asks nobody, and lints nothing.
"""

import subprocess
from pathlib import Path
from typing import Final

from sealwright.bench.peers import peer_python
from sealwright.errors import Unavailable
from sealwright.pki.keys import KeyKind

_REQUIREMENT: Final = "django-ca==3.2.0"

_PROGRAM: Final = """
import sys, time, types
from datetime import datetime, timedelta, timezone
kind, count, database = sys.argv[1], int(sys.argv[2]), sys.argv[3]
import django
from django.conf import settings
memory = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
urls = types.ModuleType("bench_urls")
sys.modules["bench_urls"] = urls
settings.configure(
    SECRET_KEY="bench", USE_TZ=True, DEFAULT_AUTO_FIELD="django.db.models.BigAutoField", ROOT_URLCONF="bench_urls",
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django_ca"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": database}},
    STORAGES={"django-ca": memory, "default": memory, "staticfiles": memory},
    CA_DEFAULT_HOSTNAME="ca.example.org", CA_USE_CELERY=False,
)
django.setup()
from django.urls import include, path
urls.urlpatterns = [path("ca/", include("django_ca.urls"))]
from django.core.management import call_command
call_command("migrate", verbosity=0)
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from django_ca.key_backends import key_backends
from django_ca.key_backends.storages.models import StoragesCreatePrivateKeyOptions, StoragesUsePrivateKeyOptions
from django_ca.models import Certificate, CertificateAuthority

def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

of_key = {"key_type": "EC", "elliptic_curve": "secp256r1"} if kind == "p-256" else {"key_type": "RSA", "key_size": 4096}
options = StoragesCreatePrivateKeyOptions(password=None, path="ca", **of_key)
end = datetime.now(timezone.utc) + timedelta(days=3650)
backend, key_type = key_backends["default"], of_key["key_type"]
authority = CertificateAuthority.objects.init(
    "bench", backend, options, name("bench"), end, key_type=key_type, algorithm=hashes.SHA256()
)
use, subject = StoragesUsePrivateKeyOptions(password=None), name("Example Corp payments terminal")
csr = x509.CertificateSigningRequestBuilder(subject).sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
Certificate.objects.create_cert(authority, use, csr, subject=subject)
begun, made = time.perf_counter(), 0
while made < count and time.perf_counter() - begun < 15:
    Certificate.objects.create_cert(authority, use, csr, subject=subject)
    made += 1
print(made / (time.perf_counter() - begun))
"""


def sign_cert_rate(kind: KeyKind, count: int, folder: Path) -> float:
    """Certificates a second. Of RSA it makes no 3072-bit key: it is measured with 4096 bits, which it reads, and checks
    anew, for every certificate."""
    command = [
        str(peer_python("django-ca", _REQUIREMENT)),
        "-c",
        _PROGRAM,
        kind,
        str(count),
        str(folder / f"{kind}.db"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"django-ca failed: {done.stderr.strip()[-500:]}")
    return float(done.stdout.split()[-1])
