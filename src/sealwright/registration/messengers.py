"""How a notice reaches people: a POST of JSON to a webhook, or a mail. Which, and when, is ``notices``'s.

A webhook's address may hold a secret: it is never logged, nor part of an error.
"""

import smtplib
import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import EmailMessage
from typing import Final

import httpx

from sealwright.errors import InputError, Unavailable
from sealwright.registration.notices import Messenger, Notice, keep_noticing
from sealwright.registration.registry import Registry

_SECONDS: Final = 10.0
EVERYBODY: Final = "*"


@dataclass(frozen=True, slots=True)
class Webhook:
    """POSTs the notice as one JSON object; any 2xx is an answer. Redirects are not followed."""

    url: str
    name: str = "webhook"

    def send(self, notice: Notice) -> None:
        try:
            answer = httpx.post(self.url, json=notice.to_wire(), timeout=_SECONDS, follow_redirects=False)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unavailable(f"the webhook does not answer: {type(error).__name__}") from None
        if not answer.is_success:
            raise Unavailable(f"the webhook answers {answer.status_code}")


@dataclass(frozen=True, slots=True)
class Mailer:
    """``to``: an address for each team; ``"*"`` for every other notice. Without STARTTLS only for a loopback relay."""

    host: str
    port: int
    sender: str
    to: Mapping[str, str]
    starttls: bool
    name: str = "mail"

    def __post_init__(self) -> None:
        if EVERYBODY not in self.to:
            raise InputError('[notices.mail.to] has no "*"', hint="notices that are no team's go there")

    def send(self, notice: Notice) -> None:
        message = EmailMessage()
        message["From"], message["To"] = self.sender, self.to.get(notice.team or EVERYBODY, self.to[EVERYBODY])
        message["Subject"] = f"[sealwright] {notice.subject}"
        message.set_content(
            f"{notice.subject}.\n\nThis notice is sent once, {notice.days} days or less before the day.\n"
            + (f"Renew it: sealwright renew {notice.key}\n" if notice.team else "")
        )
        try:
            with smtplib.SMTP(self.host, self.port, timeout=_SECONDS) as server:
                if self.starttls:
                    server.starttls(context=ssl.create_default_context())
                server.send_message(message)
        except (smtplib.SMTPException, OSError) as error:
            raise Unavailable(f"the mail server does not take it: {type(error).__name__}") from None


def begin_notices(registry: Registry, stop: threading.Event) -> None:
    """Do what ``[notices]`` asks for, until ``stop``. Nothing when it asks for nothing."""
    config = registry.config.notices
    if config is None:
        return
    messengers: list[Messenger] = []
    if config.webhook is not None:
        messengers.append(Webhook(config.webhook))
    if config.mail is not None:
        host, _, port = config.mail.server.rpartition(":")
        mail = config.mail
        messengers.append(Mailer(host.strip("[]"), int(port), mail.sender, mail.to, mail.starttls))
    keep_noticing(registry, config.days, messengers, config.state, stop)
