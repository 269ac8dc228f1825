"""The times of pre-signed answers."""

from datetime import timedelta
from pathlib import Path

from published import OCSP_KEY, make_published, present
from sealwright.pki.ocsp import CertificateStatus
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber
from sealwright.publication.answers import AnswerSigner


def test_an_answer_that_says_something_else_is_later_than_the_one_before(tmp_path: Path) -> None:
    """Also within the seconds whose answers share their times: verifiers tell answers by Last-Modified, thisUpdate."""
    published = make_published(tmp_path)
    published.database.close()
    signer = AnswerSigner(template=published.template, key=OCSP_KEY, settings=published.pki.settings)
    now, serial = present(), SerialNumber(published.issue().serial_number)
    good = signer.sign(CertificateStatus(serial, None), now=now)[0].this_update
    long_ago = RevocationEntry(serial, now - timedelta(minutes=30), RevocationReason.KEY_COMPROMISE)
    for seconds in (0, 3):
        revoked = signer.sign(
            CertificateStatus(serial, long_ago), now=now + timedelta(seconds=seconds), not_before=good
        )
        assert {each.this_update > good for each in revoked} == {True}
