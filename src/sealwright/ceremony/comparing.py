"""What ``compare-with-old`` does: nobody renews an issuing CA without having seen what changes, and if the key does."""

from cryptography import x509
from cryptography.hazmat.primitives.hashes import SHA256

from sealwright.ceremony import script as s
from sealwright.ceremony.act import Act
from sealwright.ceremony.artefacts import Drafted, draft_output
from sealwright.ceremony.renewal import Difference, compare, find_renewal
from sealwright.ceremony.room import Question
from sealwright.errors import InputError
from sealwright.pki.signatures import assemble_signed


def compare_with_old(step: s.CompareWithOld, act: Act) -> None:
    """Show both, field by field; then every officer types whether the key is new."""
    renewal = find_renewal(act.materials)
    if renewal is None:
        raise InputError(f"there is no {step.input} to be renewed")
    drafted = draft_output(step.output, act.materials)
    found = compare(renewal.old, _unsigned(drafted))
    act.show_digest(f"certificate to be renewed: {step.input}", renewal.old.fingerprint(SHA256()).hex())
    act.room.people.tell(_side_by_side(found))
    act.record(
        "compared",
        {
            "input": step.input,
            "output": step.output,
            "tbs_sha256": drafted.sha256,
            "key": step.key,
            "changed": [each.field for each in found if each.changes],
            "unchanged": [each.field for each in found if not each.changes],
        },
    )
    wanted = f"{step.key} key"
    for name in act.state.present[s.Role.OFFICER]:
        act.ask(
            Question(
                s.Role.OFFICER,
                f"{name}: does the CA go on with its old key? Type 'new key' or 'same key', as it is shown",
                lambda text: text.strip() == wanted,
                wanted,
                f"exactly {wanted!r}; if that is not what was decided, stop the ceremony with Ctrl-C",
            )
        )


def _unsigned(drafted: Drafted) -> x509.Certificate:
    """To be read, and nothing else: there is no signature in it."""
    return x509.load_der_x509_certificate(assemble_signed(drafted.tbs, drafted.scheme, b""))


def _side_by_side(found: tuple[Difference, ...]) -> str:
    changes = [f"  {each.field}\n    was  {each.before}\n    is   {each.after}" for each in found if each.changes]
    stays = ", ".join(each.field for each in found if not each.changes)
    key = next(each for each in found if each.field == "public key")
    return "\n".join(
        (f"THE KEY {'IS NEW' if key.changes else 'STAYS THE SAME'}. What changes:", *changes, f"What stays: {stays}")
    )
