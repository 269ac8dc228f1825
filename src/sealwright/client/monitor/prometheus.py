"""A report as a file for node_exporter's textfile collector: Prometheus' text format 0.0.4. Times are Unix seconds."""

from collections.abc import Mapping
from typing import Final

from sealwright.client.monitor.findings import CHECKS, Report

_HELP: Final = {
    "sealwright_monitor_run_seconds": "when this look was made",
    "sealwright_monitor_state": "the worst of all checks: 0 ok, 1 warning, 2 alarm",
    "sealwright_monitor_check": "the worst of each check: 0 ok, 1 warning, 2 alarm",
    "sealwright_monitor_ledger_entries": "entries of the ledger",
    "sealwright_monitor_roster_expires_seconds": "when the roster in force expires",
    "sealwright_monitor_ca_expires_seconds": "when a CA certificate expires",
    "sealwright_monitor_crl_number": "number of a CRL",
    "sealwright_monitor_crl_entries": "entries of a CRL",
    "sealwright_monitor_crl_this_update_seconds": "when a CRL was made",
    "sealwright_monitor_crl_next_update_seconds": "until when a CRL is good",
    "sealwright_monitor_ocsp_asked": "OCSP answers that were looked at",
    "sealwright_monitor_ocsp_oldest_seconds": "thisUpdate of the oldest of them",
    "sealwright_monitor_ocsp_next_update_seconds": "nextUpdate of the first of them to end",
    "sealwright_monitor_responder_expires_seconds": "when the OCSP responder's certificate expires",
    "sealwright_monitor_certificates": "certificates of teams that are good now",
    "sealwright_monitor_certificates_expiring": "those of them that end soon and have no successor",
}


def format_report(report: Report) -> bytes:
    """Every sample has the label ``url``. A check that was not tried is not there."""
    samples: dict[str, list[tuple[Mapping[str, str], float]]] = {name: [] for name in _HELP}
    samples["sealwright_monitor_run_seconds"].append(({}, report.at.timestamp()))
    samples["sealwright_monitor_state"].append(({}, report.level))
    for check in CHECKS:
        level = report.level_of(check)
        if level is not None:
            samples["sealwright_monitor_check"].append(({"check": check}, level))
    for name, labels, value in report.figures:
        samples[f"sealwright_monitor_{name}"].append((labels, value))
    lines: list[str] = []
    for name, text in _HELP.items():
        if samples[name]:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} gauge"]
            lines += [f"{name}{_labels({'url': report.url, **labels})} {value:.15g}" for labels, value in samples[name]]
    return ("\n".join(lines) + "\n").encode()


def _labels(labels: Mapping[str, str]) -> str:
    def escape(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels.items()) + "}"
