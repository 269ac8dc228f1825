"""Which uid owns what: one user for each process, and modes that hold each to its own.

The signer's clients share one group, which opens the socket's directory to them; the kernel's word on the peer's uid is
asked besides. What one process writes for another to read lies in a directory whose group is the reader's.
"""

import grp
import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sealwright.errors import InputError, StorageError

ROLES: Final = ("signer", "presign", "registry", "validation", "metrics")


@dataclass(frozen=True, slots=True)
class Owners:
    """``users``: name or number by role, as the operator gave it. ``group``: of those that call the signer."""

    users: Mapping[str, str | int]
    group: str | int

    def uid(self, role: str) -> int:
        user = self.users[role]
        return user if isinstance(user, int) else pwd.getpwnam(user).pw_uid

    def gid(self, role: str) -> int:
        """The user's own group; of a number without an account, the same number."""
        try:
            return pwd.getpwuid(self.uid(role)).pw_gid
        except KeyError:
            return self.uid(role)

    @property
    def clients(self) -> int:
        return self.group if isinstance(self.group, int) else grp.getgrnam(self.group).gr_gid

    def check(self) -> None:
        """Raises ``InputError`` when they are not there, separate nothing, or this process may not give files away."""
        try:
            uids = {self.uid(role) for role in ROLES}
            _ = self.clients
        except KeyError as error:
            raise InputError(f"no such user or group on this machine: {error}", hint="make it with useradd") from None
        if len(uids) != len(ROLES) or 0 in uids:
            raise InputError("each process needs a user of its own, and none is root")
        if os.geteuid() != 0:
            raise InputError("only root can give files to other users", hint="run this command as root")


def parse_owners(users: Sequence[str], group: str | None) -> Owners | None:
    """``ROLE=USER`` of each role, and the group's name or number. None when nothing was said."""
    if not users and group is None:
        return None
    found: dict[str, str | int] = {}
    for item in users:
        role, _, user = item.partition("=")
        if role not in ROLES or not user:
            raise InputError(f"--user {item}: wanted ROLE=USER", hint=f"the roles are {', '.join(ROLES)}")
        found[role] = int(user) if user.isdecimal() else user
    missing = [role for role in ROLES if role not in found]
    if missing or group is None:
        raise InputError(
            f"separate users need all of {', '.join(ROLES)} and --group; missing: {', '.join(missing) or '--group'}",
            hint="useradd --system --no-create-home sealwright-signer, and so on; groupadd --system sealwright",
        )
    owners = Owners(found, int(group) if group.isdecimal() else group)
    owners.check()
    return owners


def lay_out(folder: Path, owners: Owners, pins: Mapping[str, Path]) -> None:
    """Owners and modes of an installed folder; the places that a backup leaves out are made.

    What is not named here is root's, and readable by all.
    """
    clients = owners.clients
    places = {  # who writes, whose group may read, mode
        "ledger": ("signer", owners.gid("presign"), 0o750),
        "crl": ("signer", owners.gid("presign"), 0o750),
        "run": ("signer", clients, 0o2750),  # setgid: the socket made in it is the group's
        "publication": ("presign", owners.gid("validation"), 0o750),
        "status": ("presign", owners.gid("presign"), 0o755),
        "registry": ("registry", owners.gid("registry"), 0o700),
        "snapshot": ("validation", owners.gid("validation"), 0o700),
    }
    try:
        folder.chmod(0o755)
        for name, (role, group, mode) in places.items():
            path = folder / name
            path.mkdir(exist_ok=True)
            for each in (path, *path.rglob("*")):
                os.chown(each, owners.uid(role), group)
            path.chmod(mode)
        for name, pin in pins.items():
            role = "presign" if name == "ocsp" else "signer"
            os.chown(pin, owners.uid(role), owners.gid(role))
            pin.chmod(0o400)
    except OSError as error:
        raise StorageError(f"cannot give {error.filename} to its user: {error.strerror}") from error
