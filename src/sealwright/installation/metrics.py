"""What was observed, in Prometheus' text format (0.0.4). Times are seconds since 1970, as Prometheus wants them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sealwright.installation.observed import Observed, read_time

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_HELP = {
    "sealwright_up": ("gauge", "1 when the process answers and is well"),
    "sealwright_token_up": ("gauge", "1 when the token is in use, 0 when it is away or its PIN was refused"),
    "sealwright_token_outages_total": ("counter", "times a token was away since its process started"),
    "sealwright_token_rebuilds_total": ("counter", "times the login was made anew after a failure"),
    "sealwright_token_logins_total": ("counter", "logins, one PIN attempt each"),
    "sealwright_ledger_entries": ("gauge", "entries of the ledger"),
    "sealwright_certificates_issued_total": ("counter", "orders that were answered with a certificate"),
    "sealwright_certificates_revoked_total": ("counter", "serials that are revoked"),
    "sealwright_refusals_total": ("counter", "calls that a rule refused"),
    "sealwright_open_intents": ("gauge", "serials reserved and not yet certified or revoked"),
    "sealwright_crl_number": ("gauge", "number of the newest CRL"),
    "sealwright_crl_made_seconds": ("gauge", "when the CRL was made that is the oldest of all scopes"),
    "sealwright_roster_version": ("gauge", "the roster in force"),
    "sealwright_roster_expires_seconds": ("gauge", "when it expires"),
    "sealwright_signer_epoch": ("gauge", "takeovers, and one: the epoch under which the signer may sign"),
    "sealwright_standby": ("gauge", "1 when this signer is a standby, which signs nothing"),
    "sealwright_standby_behind_entries": ("gauge", "entries that the standby's source has and it has not taken yet"),
    "sealwright_standby_source_silent_seconds": ("gauge", "how long ago the standby was last at its source's end"),
    "sealwright_presign_serials": ("gauge", "serials that presign answers for"),
    "sealwright_presign_pending": ("gauge", "serials whose answers are to be signed now"),
    "sealwright_presign_oldest_answer_seconds": ("gauge", "thisUpdate of the oldest answer that is served"),
    "sealwright_responder_expires_seconds": ("gauge", "when the OCSP responder's certificate expires"),
    "sealwright_sync_age_seconds": ("gauge", "how long ago validation last saw the publication database"),
}
_SIGNER = {
    "ledger_size": "sealwright_ledger_entries",
    "issued": "sealwright_certificates_issued_total",
    "revoked": "sealwright_certificates_revoked_total",
    "refusals": "sealwright_refusals_total",
    "open_intents": "sealwright_open_intents",
    "crl_number": "sealwright_crl_number",
    "crl_made": "sealwright_crl_made_seconds",
    "roster_version": "sealwright_roster_version",
    "roster_expires": "sealwright_roster_expires_seconds",
    "epoch": "sealwright_signer_epoch",
    "behind_entries": "sealwright_standby_behind_entries",
    "source_silent_seconds": "sealwright_standby_source_silent_seconds",
}
_PRESIGN = {
    "serials": "sealwright_presign_serials",
    "pending": "sealwright_presign_pending",
    "oldest_answer": "sealwright_presign_oldest_answer_seconds",
    "responder_expires": "sealwright_responder_expires_seconds",
}
_SYNC = {"seconds_since_sync": "sealwright_sync_age_seconds"}
_FACTS = {"signer": _SIGNER, "presign": _PRESIGN, "sync": _SYNC}

Sample = tuple[str, Mapping[str, str], float]


def format_metrics(observed: Sequence[Observed]) -> str:
    """The page. What a process did not say is not there: Prometheus knows absence from zero."""
    by_name: dict[str, list[Sample]] = {}
    for sample in _samples(observed):
        by_name.setdefault(sample[0], []).append(sample)
    lines: list[str] = []
    for name, (kind, text) in _HELP.items():
        if name in by_name:
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
            lines += [f"{name}{_labels(labels)} {value:.15g}" for _, labels, value in by_name[name]]
    return "\n".join(lines) + "\n"


def _samples(observed: Sequence[Observed]) -> Iterator[Sample]:
    for each in observed:
        yield "sealwright_up", {"process": each.process}, float(each.well)
        if "role" in each.facts:
            yield "sealwright_standby", {}, float(each.facts["role"] == "standby")
        for token in each.facts.get("tokens", ()):
            labels = {"process": each.process, "token": token["serial"], "label": token["label"]}
            yield "sealwright_token_up", labels, float(token["state"] == "well")
            for name in ("outages", "rebuilds", "logins"):
                yield f"sealwright_token_{name}_total", labels, float(token[name])
        for fact, name in _FACTS.get(each.process, {}).items():
            value = each.facts.get(fact, "")
            if value != "":
                yield name, {}, _number(value)


def _number(value: Any) -> float:
    return read_time(value).timestamp() if isinstance(value, str) else float(value)


def _labels(labels: Mapping[str, str]) -> str:
    def escape(text: str) -> str:
        return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{escape(value)}"' for name, value in labels.items()) + "}" if labels else ""
