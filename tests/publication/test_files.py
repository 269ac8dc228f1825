"""CRL files on their way to the publication database."""

from datetime import timedelta
from pathlib import Path

from published import make_published
from sealwright.pki.crl_scope import crl_file_name
from sealwright.publication.files import CRLFile


def test_a_crl_that_is_over_before_its_next_one_is_due_is_due_when_it_is_over(tmp_path: Path) -> None:
    """Near the end of its CA: the node lets in no row that is refreshed after its nextUpdate."""
    published = make_published(tmp_path)
    ca_id, ca, database = published.pki.settings.issuing.id, published.pki.issuing, published.database
    for number, (refresh, wanted) in enumerate([(timedelta(days=1),) * 2, (timedelta(days=30), timedelta(days=7))]):
        (tmp_path / crl_file_name(ca_id)).write_bytes(published.crl(number=10 + number))
        assert CRLFile(tmp_path, ca_id, ca, refresh).publish(database)
        row = database.find_object(f"/crl/{ca_id}.crl")
        assert row is not None
        assert row.this_update is not None
        assert row.refresh_at == row.this_update + wanted
    database.close()
