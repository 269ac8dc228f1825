"""systemd units for the five servers: a user each, and no more of the machine than each needs.

``MemoryDenyWriteExecute`` is not set: PKCS#11 modules (p11-kit's among them) make closures. A token on USB needs
``PrivateDevices=no``, one on the network ``PrivateNetwork=no`` and its address: write a drop-in for the signer and
presign (``systemctl edit``), the rest of the hardening stays.
"""

from collections.abc import Mapping
from pathlib import Path

from sealwright.durable import replace_file
from sealwright.errors import Conflict, Fenced, InputError, NotFound, WrongPin
from sealwright.installation.config import DaemonConfig, UsersSection

_HARDENING = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
AmbientCapabilities=
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateIPC=yes
ProtectProc=invisible
ProcSubset=pid
ProtectClock=yes
ProtectHostname=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
RemoveIPC=yes
KeyringMode=private
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources @obsolete
SystemCallErrorNumber=EPERM
LimitCORE=0
"""
_OFFLINE = "PrivateNetwork=yes\nIPAddressDeny=any\nRestrictAddressFamilies=AF_UNIX\n"
_ONLINE = "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6\n"
_ABOUT = {
    "signer": "signer: holds the issuing key, verifies every order, writes the ledger",
    "presign": "presign: signs OCSP answers ahead of time and publishes",
    "registry": "registry: the API of teams and approvers",
    "validation": "validation: answers verifiers",
    "metrics": "metrics: how all of them are, on loopback",
}


def make_units(folder: Path, config: DaemonConfig, command: Path) -> Mapping[str, str]:
    """The units by file name. Raises ``InputError`` when the folder was installed without separate users."""
    if config.users is None:
        raise InputError(
            "this PKI was installed for one user, so there is nothing to separate",
            hint="install with --user ROLE=USER for each process, and --group",
        )
    # `metrics` is there whenever it was asked for; the four others always.
    roles = [role for role in _ABOUT if role != "metrics" or config.metrics is not None]
    units = {
        f"sealwright-{role}.service": _unit(role, folder.absolute(), config, config.users, command) for role in roles
    }
    if config.standby is not None:
        units["sealwright-standby.service"] = _standby(folder.absolute(), config, config.users, command)
    return units


def write_units(units: Mapping[str, str], out: Path) -> None:
    """Put them in a folder; a file that is there and differs is never overwritten.

    Raises ``NotFound``, ``Conflict`` or ``StorageError``; then nothing was written, or what was is whole.
    """
    if not out.is_dir():
        raise NotFound(f"{out} is not a folder", hint="units go to /etc/systemd/system, or to a folder that you make")
    for name, text in units.items():
        path = out / name
        if path.exists() and path.read_text() != text:
            raise Conflict(f"{path} is there and says something else", hint="compare, then remove it or keep it")
    for name, text in units.items():
        replace_file(out / name, text.encode())


def _unit(role: str, folder: Path, config: DaemonConfig, users: UsersSection, command: Path) -> str:
    after = "local-fs.target" if role == "signer" else "network.target sealwright-signer.service"
    lines = [
        "[Unit]",
        f"Description=Sealwright {_ABOUT[role]}",
        f"After={after}",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        "Type=exec",
        f"User={getattr(users, role)}",
        f"SupplementaryGroups={users.group}" if role in ("signer", "presign", "registry", "metrics") else "",
        *(f"ExecStartPre={command} migrate --only {database} --dir {folder}" for database in _migrates(role, config)),
        f"ExecStart={command} {role} --dir {folder}",
        *(("ExecReload=/bin/kill -HUP $MAINPID", "LimitNOFILE=65536") if role == "validation" else ()),
        "Restart=always",
        "RestartSec=2",
        # A PIN that was refused once is not tried again, and who was taken over from does not come back.
        f"RestartPreventExitStatus={WrongPin.exit_code} {Fenced.exit_code}",
        f"UMask={'0022' if role in ('signer', 'presign') else '0077'}",
        "",
        _HARDENING + (_OFFLINE if _is_offline(role, config) else _ONLINE),
        "SystemCallFilter=sched_setattr" if role == "validation" else "",  # shorter turns: validation.turns
        f"ReadWritePaths={' '.join(_writes(role, folder, config))}" if _writes(role, folder, config) else "",
        f"InaccessiblePaths={' '.join(_never(role, folder))}" if _never(role, folder) else "",
        "",
        "[Install]",
        "WantedBy=multi-user.target",
        "",
    ]
    return "\n".join(lines)


def _standby(folder: Path, config: DaemonConfig, users: UsersSection, command: Path) -> str:
    """In the signer's place and as its user, with a network and without its tokens and PINs."""
    secret = (config.signer.issuing.pin_file, config.signer.ledger.pin_file, *_token_folder("signer", config))
    return "\n".join(
        [
            "[Unit]",
            "Description=Sealwright standby: follows the active signer's ledger, signs nothing",
            "After=network.target",
            "Conflicts=sealwright-signer.service",
            "StartLimitIntervalSec=0",
            "",
            "[Service]",
            "Type=exec",
            f"User={users.signer}",
            f"SupplementaryGroups={users.group}",
            f"ExecStart={command} signer --standby --dir {folder}",
            "Restart=on-failure",  # `takeover` ends it, for good
            "RestartSec=2",
            f"RestartPreventExitStatus={Conflict.exit_code}",  # it is a signer's ledger
            "UMask=0022",
            "",
            _HARDENING + _ONLINE,
            f"ReadWritePaths={' '.join(str(folder / name) for name in ('ledger', 'run'))}",
            f"InaccessiblePaths={' '.join(f'-{path}' for path in (*secret, folder / 'registry'))}",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def _migrates(role: str, config: DaemonConfig) -> tuple[str, ...]:
    """Its own SQLite file; PostgreSQL's tables belong to a role that no process has, and are migrated by hand."""
    urls = {
        "presign": ("publication", config.presign.publication),
        "registry": ("registry", config.registry.database),
    }
    name, url = urls.get(role, ("", ""))
    return (name,) if url.startswith("sqlite:") else ()


def _is_offline(role: str, config: DaemonConfig) -> bool:
    return role == "signer" or (role == "presign" and config.presign.publication.startswith("sqlite:"))


def _writes(role: str, folder: Path, config: DaemonConfig) -> tuple[str, ...]:
    own = {
        "signer": ("ledger", "crl", "run"),
        "presign": ("publication", "status"),
        "registry": ("registry",),
        "validation": ("snapshot",),
    }.get(role, ())
    return (*(str(folder / name) for name in own), *_token_folder(role, config))


def _never(role: str, folder: Path) -> tuple[str, ...]:
    if role in ("registry", "validation", "metrics"):
        return tuple(f"-{folder / name}" for name in ("ledger", "crl"))
    return (f"-{folder / 'registry'}",)


def _token_folder(role: str, config: DaemonConfig) -> tuple[str, ...]:
    """SoftHSM's token directory: its lock files are written also by who only signs."""
    own = {"signer": config.signer.environment, "presign": config.presign.environment}
    if role not in own:
        return ()
    path = {**config.token.environment, **own[role]}.get("SOFTHSM2_CONF")
    if path is None or not Path(path).is_file():
        return ()
    for line in Path(path).read_text().splitlines():
        name, _, value = line.partition("=")
        if name.strip() == "directories.tokendir":
            return (value.strip(),)
    return ()
