"""The processes. Each command reads its part of the configuration and runs until it is told to stop."""

import os
from typing import Annotated

import typer

from sealwright.cli.daemon.options import (
    Folder,
    begin,
    notices_config,
    presign_config,
    signer_config,
    source_opener,
    standby_section,
    validation_config,
)
from sealwright.installation.config import load_config


def signer(
    folder: Folder,
    standby: Annotated[
        bool, typer.Option("--standby", help="Follow the active signer's ledger ([standby] source), and sign nothing.")
    ] = False,
) -> None:
    """Run the signer: it holds the issuing key, verifies every order itself, and writes the ledger.

    With --standby it holds no key: it keeps a verified copy of another machine's ledger, until `sealwrightd takeover`.
    """
    from sealwright.issuing.service import run_signer, stop_on_signals
    from sealwright.issuing.standby import StandbyConfig, run_standby

    config = begin(folder, "signer")
    if standby:
        section = standby_section(config)
        run_standby(
            StandbyConfig(
                folder=folder,
                socket=config.signer.socket,
                poll_seconds=section.poll_seconds,
                callers=frozenset((*config.signer.peers, *config.signer.presign_peers, *config.signer.status_peers)),
                owner=os.getuid(),
            ),
            source_opener(folder, section),
            stop_on_signals(),
        )
        return
    run_signer(signer_config(folder, config))


def presign(folder: Folder) -> None:
    """Run presign: it signs OCSP answers ahead of time and publishes them and the CRLs."""
    from sealwright.publication.presign import run_presign

    run_presign(presign_config(folder, begin(folder, "presign")))


def registry(folder: Folder) -> None:
    """Run the registry: the HTTPS API that teams and approvers speak to. It holds no key."""
    from sealwright.api.serve import serve_registry
    from sealwright.registration.config import RegistryConfig

    config = begin(folder, "registry")
    serve_registry(
        RegistryConfig(
            folder=folder,
            socket=config.signer.socket,
            database=config.registry.database,
            url=config.registry.url,
            notices=notices_config(config),
        ),
        listen=config.registry.listen,
        tls=(config.registry.tls_certificate, config.registry.tls_key),
    )


def validation(
    folder: Folder,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Make the snapshot again from nothing; the old one is served meanwhile.")
    ] = False,
) -> None:
    """Run validation: it answers verifiers, from a snapshot, with no key and no database at hand.

    SIGHUP reads sealwrightd.toml again and replaces the answering processes without losing a connection.
    """
    from sealwright.validation.service import run_validation

    first = validation_config(folder, begin(folder, "validation"), rebuild=rebuild)
    run_validation(first, reload=lambda: validation_config(folder, load_config(folder), rebuild=False))


def metrics(folder: Folder) -> None:
    """Run the exporter: /metrics for Prometheus and /healthz, of all the processes, on loopback."""
    from sealwright.installation.exporter import run_exporter

    run_exporter(begin(folder, "metrics"))


def up(folder: Folder) -> None:
    """Run all the servers on this machine, under this one uid: to look at the flow, not for separation."""
    from sealwright.installation.up import run_all

    run_all(folder, load_config(folder), lambda line: print(line, flush=True))  # noqa: T201  # a pipe must see it now
