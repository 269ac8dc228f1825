"""The declaration of a loss in a file, which officers sign one after the other. No server has a part in it."""

from pathlib import Path

from sealwright.client.drafts import check_as_shown
from sealwright.client.files import write_file
from sealwright.client.signing import add_signature
from sealwright.durable import read_file
from sealwright.errors import Conflict, InputError
from sealwright.statements.canonical import parse_json
from sealwright.statements.kinds import LossStatement
from sealwright.statements.signed import SignedStatement, parse_signed
from sealwright.statements.ssh import parse_signature
from sealwright.statements.ssh_keygen import read_public_key
from sealwright.statements.wire import parse_model

_HINT = "`sealwrightd loss` makes one, on the signer's machine"


def load_loss_file(path: Path) -> tuple[LossStatement, tuple[str, ...]]:
    """Signed by some or by nobody yet; nothing of it is verified. Raises ``InputError``."""
    data = read_file(path, hint=_HINT)
    try:
        value = parse_json(data, 128 * 1024)
        if "signatures" not in value:
            return parse_model(LossStatement, value, "statement"), ()
        signed = parse_signed(data)
        content = signed.content
    except InputError as error:
        raise InputError(f"{path} declares no loss: {error.message}", hint=_HINT) from None
    if not isinstance(content, LossStatement):
        raise InputError(f"{path} holds a {content.kind}; wanted a loss")
    return content, signed.signatures


def sign_loss(path: Path, shown: LossStatement, key_file: Path) -> SignedStatement:
    """Add one signature to the file. Raises ``Conflict`` when this key has signed it already, or it is not as shown."""
    statement, signatures = load_loss_file(path)
    check_as_shown(path, statement, shown)
    key = read_public_key(key_file)
    if any(parse_signature(each).key.identity == key.identity for each in signatures):
        raise Conflict(f"{path} already carries a signature by {key}", hint="another officer has to sign it")
    signed = SignedStatement.of(statement, *signatures, add_signature(statement.to_bytes(), statement.kind, key_file))
    write_file(path, signed.to_bytes(), replace=True)
    return signed
