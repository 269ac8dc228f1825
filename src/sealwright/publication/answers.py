"""From what is known of serials to their pre-signed answers, in groups as the publication database takes them.

Decides the answers' times; what an answer is, is ``pki.ocsp``'s. Which serials are due is ``queue``'s.

Answers that are made within a few seconds share their times (a *window*), so that the linter is asked once for all of
one shape. Those that are signed together are made again together, since they lie together in the databases; from one
such part to the next that moment goes through the last quarter of the interval, so that a million answers of one hour
are not due within another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sealwright.pki.keys import PrivateKey
from sealwright.pki.ocsp import AnswerTemplate, CertIDForm, CertificateStatus
from sealwright.pki.ocsp_shapes import AnswerShape, AnswerTimes, lint_shape, shape_key, sign_shape
from sealwright.pki.revocation import RevocationReason
from sealwright.pki.rules_validity import ANSWER_YEARS, add_years
from sealwright.pki.serials import format_serial
from sealwright.pki.settings import PKISettings
from sealwright.store.publication import GOOD, REVOKED, AnswerGroup, PublishedAnswer

WINDOW = timedelta(seconds=10)
"""How old thisUpdate of an answer may be when it is signed."""
_SLOTS = 64
"""So many moments of refreshing in a window."""
_ShapeKey = tuple[CertIDForm, AnswerTimes, int, bool, RevocationReason | None]


@dataclass(frozen=True, slots=True)
class SignedPart:
    """Answers with the same times: which of those that were asked for, and the groups to be published."""

    places: Sequence[int]
    this_update: int
    """Unix seconds."""
    again: datetime
    """When they are to be made again."""
    groups: tuple[AnswerGroup, ...]


@dataclass(slots=True, kw_only=True)
class AnswerSigner:
    """The OCSP key with one responder certificate of its own, and the standing order's times."""

    template: AnswerTemplate
    key: PrivateKey
    settings: PKISettings
    _shapes: dict[_ShapeKey, AnswerShape] = field(default_factory=dict)
    _window: datetime | None = None
    _parts: int = 0
    """That were signed."""

    @property
    def ca_id(self) -> str:
        return self.settings.issuing.id

    def sign(
        self, status: CertificateStatus, *, now: datetime, not_before: datetime | None = None
    ) -> tuple[PublishedAnswer, ...]:
        """Both forms of one. ``not_before``: thisUpdate of the answer that these replace, if a clock was set back."""
        parts = self.sign_many([status], now=now, answered=[int(not_before.timestamp()) if not_before else None])
        return tuple(each for part in parts for group in part.groups for each in group.as_rows())

    def sign_many(
        self, statuses: Sequence[CertificateStatus], *, now: datetime, answered: Sequence[int | None]
    ) -> list[SignedPart]:
        """Both forms of each. ``answered``: thisUpdate of the answer that each replaces (Unix seconds), if it is known.

        Raises PolicyViolation when a rule refuses one; then none is signed.
        """
        shared = self._shared(now)
        begun = int(shared.timestamp())
        parts: dict[tuple[datetime, int, bool, RevocationReason | None], list[int]] = {}
        for place, (status, before) in enumerate(zip(statuses, answered, strict=True)):
            moment, revoked = shared, status.revoked
            if before is not None and before >= begun:  # later than it: verifiers ask by If-Modified-Since
                moment = max(now, datetime.fromtimestamp(before + 1, UTC))
            if revoked is not None and revoked.revocation_date > moment:
                moment = max(now, revoked.revocation_date)
            parts.setdefault((moment, *shape_key(status)), []).append(place)
        return [
            self._sign_part(moment, places, [statuses[each] for each in places])
            for (moment, *_), places in parts.items()
        ]

    def _shared(self, now: datetime) -> datetime:
        """thisUpdate of what is signed now, unless something has to be later. A clock set back begins a window."""
        now = max(now, self.template.responder.not_valid_before_utc)
        if self._window is None or not timedelta(0) <= now - self._window < WINDOW:
            self._window = now
            self._shapes.clear()
        return self._window

    def _sign_part(self, moment: datetime, places: list[int], statuses: list[CertificateStatus]) -> SignedPart:
        times = self._times(moment)
        again = self._again(times)
        revoked = statuses[0].revoked
        serials = [format_serial(each.serial) for each in statuses]
        dates = [each.revoked.revocation_date if each.revoked else None for each in statuses]
        groups = tuple(
            AnswerGroup(
                ca_id=self.ca_id,
                form=form.value,
                status=GOOD if revoked is None else REVOKED,
                reason=None if revoked is None else revoked.reason,
                this_update=times.this_update,
                next_update=times.next_update,
                refresh_at=again,
                rows=list(zip(serials, dates, answers, strict=True)),
            )
            for form in CertIDForm
            for answers in (sign_shape(self._shape(form, times, statuses[0]), statuses, self.key),)
        )
        return SignedPart(places, int(times.this_update.timestamp()), again, groups)

    def _times(self, this_update: datetime) -> AnswerTimes:
        # An answer does not outlive the certificate that vouches for it: near that one's end it is shorter.
        next_update = min(
            this_update + timedelta(hours=self.settings.standing.ocsp_validity_hours),
            self.template.responder.not_valid_after_utc,
        )
        return AnswerTimes(this_update, next_update, add_years(this_update, -ANSWER_YEARS))

    def _again(self, times: AnswerTimes) -> datetime:
        """When this part is to be made again: in the last quarter of the interval, each after another while."""
        hours = timedelta(hours=self.settings.standing.ocsp_refresh_hours)
        last = min(times.this_update + hours, times.next_update)
        early = int(hours.total_seconds() / 4 * (self._parts % _SLOTS) / _SLOTS)
        self._parts += 1
        return max(times.this_update, last - timedelta(seconds=early))

    def _shape(self, form: CertIDForm, times: AnswerTimes, sample: CertificateStatus) -> AnswerShape:
        key = (form, times, *shape_key(sample))
        if key not in self._shapes:
            if len(self._shapes) > 1024:  # times of their own, from a clock that went back
                self._shapes.clear()
            self._shapes[key] = lint_shape(self.template, form, times, sample)
        return self._shapes[key]
