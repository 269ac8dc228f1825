"""pkilint asked part by part: of octets that it passed before, in all that it looked at then, it is not asked again.

From one certificate to the next the serial number, the validity, the key and its identifier are new, and little else.
A certificate is cut into parts; each *section* of it (a field of the TBS, an extension, or what holds them together)
is judged by all of pkilint's validators that concern its nodes, and every part that they look at is noted. When the
same section is asked about again and all of those parts have the same octets, the answer is the same: a validator has
neither clock nor memory, and nothing else is in its reach (ADR 16).

Only "nothing to object" is kept and given. Whatever else comes up, ``lint`` asks pkilint about the whole certificate,
as if this module did not exist, and reports what that finds.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final

from pkilint.document import PDUNode
from pkilint.pkix.certificate import RFC5280Certificate
from pkilint.validation import ValidationFindingSeverity, ValidatorContainer
from pyasn1.error import PyAsn1Error
from pyasn1_alt_modules import rfc5280
from pyasn1_fasder import decode_der  # type: ignore[import-untyped]  # as pkilint decodes

from sealwright.pki.certificate_parts import (
    EXTENSIONS,
    KEY_ALGORITHM,
    SPKI,
    TBS,
    CertificateParts,
    Section,
    head_of,
)
from sealwright.pki.pkilint_walk import concerned, take_apart, walk

_KEPT: Final = 512
"""Answers for one section: at least as many certificates come by before anything is asked twice."""
_WAYS: Final = 8
"""Sets of parts that one section's validators may look at, depending on what they find there."""


class PartByPart:
    """A pkilint container of certificate validators with a memory. ``passes`` may be called from any thread."""

    def __init__(self, container: Any) -> None:
        decoders, *validators = container.validators
        if type(decoders) is not ValidatorContainer or decoders._path != "certificate":
            raise TypeError("pkilint's first container is not that which decodes; wanted the one of lint_pkix_cert")
        self._decoders = decoders
        self._container = ValidatorContainer(validators=validators)
        self._memory = _Memory()

    def passes(self, der: bytes, parts: CertificateParts) -> bool:
        """True: pkilint has no finding of WARNING or above. False: it has one, or has to be asked in another way.

        ``parts``: what ``cut_certificate`` made of ``der``.
        """
        document = _Document(der, parts, self._decoders, self._memory)
        try:
            return all(self._section_passes(document, section) for section in parts.sections)
        except _OutOfReach:
            return False
        finally:
            document.take_apart()

    def _section_passes(self, document: "_Document", section: Section) -> bool:
        if self._memory.recall(section.name, document.parts) is not None:
            return True
        document.begin()
        results: list[Any] = []
        if section.way:
            self._ask_on(self._container, document.root, section.way, results)
        else:
            self._ask_above(self._container, document.root, results)
        if any(map(_objects, results)):
            return False
        self._memory.keep(section.name, document.parts, document.looked_at | section.parts, answer=True)
        return True

    def _ask_on(self, container: Any, node: Any, way: Sequence[str], results: list[Any]) -> None:
        """``walk``, from above down to one section, which is walked as a whole."""
        kind: Any = type(node.pdu)
        for validator, is_container in concerned(container, kind, node.path):
            if is_container and validator.match(node):
                self._ask_on(validator, node, way, results)
        child = node.children[way[0]]
        if len(way) == 1:
            results += child.decoding()
            walk(container, child, results)
        else:
            self._ask_on(container, child, way[1:], results)

    def _ask_above(self, container: Any, node: Any, results: list[Any]) -> None:
        """``walk``, where no section is: the nodes that hold the others together."""
        kind: Any = type(node.pdu)
        for validator, is_container in concerned(container, kind, node.path):
            if validator.match(node):
                if is_container:
                    self._ask_above(validator, node, results)
                else:
                    result = validator.validate_wrapper(node)
                    results.extend(result if isinstance(result, list) else (result,))
        for child in tuple(node.children.values()):
            if isinstance(child, _Above):
                self._ask_above(container, child, results)


def _objects(result: Any) -> bool:
    return any(each.finding.severity <= ValidationFindingSeverity.WARNING for each in result.finding_descriptions)


class _Memory:
    """Answers by the octets of all parts that were looked at for them."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], dict[frozenset[str], dict[tuple[bytes, ...], bool]]] = {}

    def recall(self, question: str, parts: CertificateParts) -> tuple[frozenset[str], bool] | None:
        """What was looked at and the answer; None where this was never asked of the same octets."""
        for looked_at, answers in tuple(self._known.get((question, parts.extensions), {}).items()):
            answer = answers.get(parts.octets_of(looked_at))
            if answer is not None:
                return looked_at, answer
        return None

    def keep(self, question: str, parts: CertificateParts, looked_at: set[str], *, answer: bool) -> None:
        known = self._known.setdefault((question, parts.extensions), {})
        names = frozenset(looked_at)
        if names not in known and len(known) >= _WAYS:
            known.clear()
        answers = known.setdefault(names, {})
        if len(answers) >= _KEPT:
            answers.clear()
        answers[parts.octets_of(names)] = answer


class _OutOfReach(BaseException):
    """A part cannot be read by itself, or a validator wants to look where its looking is not noted.

    No ``Exception``: neither a validator nor pkilint around it takes it for something of theirs.
    """


class _Document(RFC5280Certificate):  # type: ignore[misc]  # pkilint has no types
    """A certificate whose parts are decoded when somebody looks at them, which is noted in ``looked_at``."""

    def __init__(self, der: bytes, parts: CertificateParts, decoders: Any, memory: _Memory) -> None:
        self._der, self.parts, self._decoders, self._memory = der, parts, decoders, memory
        self.looked_at: set[str] = set()
        super().__init__("copy", der)
        self._sections: list[_Section] = []
        self.root: _Above | None = self._frame()
        self._own = frozenset({*self.__dict__, "_own"})

    def _frame(self) -> "_Above":
        root = _Above(self, "certificate", _CERTIFICATE, None)
        above = {(): root, (TBS,): _Above(self, TBS, _TBS_CERTIFICATE, root)}
        above[TBS, EXTENSIONS] = extensions = _Above(self, EXTENSIONS, _EXTENSIONS, above[(TBS,)])
        del above[(TBS,)].children[EXTENSIONS]
        for section in self.parts.sections:
            if section.way:
                self._sections.append(_Section(above[section.way[:-1]], section))
        above[(TBS,)].children[EXTENSIONS] = extensions  # the last of them
        return root

    @property
    def substrate(self) -> bytes:
        """All octets: whoever asks for them looked at every part."""
        self.looked_at.update(self.parts.octets)
        return self._der

    @substrate.setter
    def substrate(self, _: bytes) -> None:
        """Set by pkilint's constructor, to what ``_der`` is."""

    @property
    def is_ca(self) -> bool:
        """Asked of every key. It follows from an extension, and where that is known it is not decoded for it."""
        known = self._memory.recall("is CA", self.parts)
        if known is None:
            before, self.looked_at = self.looked_at, set()
            answer = bool(RFC5280Certificate.is_ca.func(self))
            self._memory.keep("is CA", self.parts, self.looked_at, answer=answer)
            known = frozenset(self.looked_at), answer
            self.looked_at = before
        self.looked_at |= known[0]
        return known[1]

    def begin(self) -> None:
        """Forget what was looked at, and what the last section's validators left in this object's cached properties."""
        self.looked_at = set()
        for name in self.__dict__.keys() - self._own:
            del self.__dict__[name]

    def decode_section(self, section: Section) -> Any:
        """As pyasn1 decodes it within the whole."""
        try:
            return decode_der(self.parts.whole[section.name], asn1Spec=_spec_of(section))[0]
        except (ValueError, PyAsn1Error) as error:
            raise _OutOfReach(f"{section.name}: {error}") from None

    def decode_inside(self, node: "_Section") -> list[Any]:
        """What pkilint decodes before it asks anything: values of extensions, names, the key. Its results.

        What this looks at is the section's own, or nothing of this certificate is judged here.
        """
        before, self.looked_at = self.looked_at, set()
        results: list[Any] = []
        walk(self._decoders, node, results)
        if not self.looked_at <= node.section.parts:
            raise _OutOfReach(f"{node.path} is decoded by what other parts say")
        self.looked_at = before
        return results

    def take_apart(self) -> None:
        for each in self._sections:
            each.take_apart()
        self.root = None


def _hollow(kind: type) -> Any:
    """Of this class, as a validator may ask, and nothing in it: what is there is looked at in the parts."""

    def refuse(self: object, name: str) -> object:
        if name == "__class__":
            return hollow
        raise _OutOfReach(f"{name} of a whole {kind.__name__}")

    hollow = type(kind.__name__, (kind,), {"__init__": lambda self: None, "__getattribute__": refuse})
    return hollow()


_CERTIFICATE: Final = _hollow(rfc5280.Certificate)
_TBS_CERTIFICATE: Final = _hollow(rfc5280.TBSCertificate)
_EXTENSIONS: Final = _hollow(rfc5280.Extensions)


@cache
def _spec_of(section: Section) -> Any:
    """The schema of a section's node."""
    if section.way[:-1] == (TBS, EXTENSIONS):
        return rfc5280.Extension()
    outer = rfc5280.TBSCertificate() if section.way[0] == TBS else rfc5280.Certificate()
    return outer.componentType.getTypeByPosition(outer.componentType.getPositionByName(section.way[-1]))


@cache
def _parts_within(section: Section) -> dict[str, frozenset[str]]:
    """The names below a section of several parts, and what each is made from."""
    if section.name == SPKI:
        return {"algorithm": frozenset({KEY_ALGORITHM}), "subjectPublicKey": section.parts}
    if len(section.parts) > 1:
        head = frozenset({head_of(section.name)})
        return {"extnID": head, "critical": head, "extnValue": section.parts}
    return {}


class _Above(PDUNode):  # type: ignore[misc]  # as above
    """Certificate, TBSCertificate, Extensions: what holds the sections together."""

    def __init__(self, document: _Document, name: str, pdu: Any, parent: "_Above | None") -> None:
        self.document, self.name, self.pdu, self.parent = document, name, pdu, parent
        self.path: str = name if parent is None else f"{parent.path}.{name}"
        self.children: dict[str, Any] = {}
        if parent is not None:
            parent.children[name] = self


class _Piece(PDUNode):  # type: ignore[misc]  # as above
    """The node of a section, decoded when it is looked at, or one within it that is of parts of its own."""

    def __init__(self, parent: Any, name: str, parts: frozenset[str], pdu: Any = None) -> None:
        self.document, self.name, self.parent = parent.document, name, parent
        self.path = f"{parent.path}.{name}"
        self._parts = parts
        self._pdu = pdu
        self._children: dict[str, Any] | None = None

    @property
    def pdu(self) -> Any:
        self.document.looked_at.update(self._parts)
        self._unfold()
        return self._pdu

    @property
    def children(self) -> dict[str, Any]:
        self.document.looked_at.update(self._parts)
        return self._unfold()

    def _unfold(self) -> dict[str, Any]:
        if self._children is None:
            self._children = {}  # for whoever asks meanwhile
            self._children = self._generate_child_nodes()
        return self._children

    def take_apart(self) -> None:
        for child in (self._children or {}).values():
            child.take_apart() if isinstance(child, _Piece) else take_apart(child)
        self._children, self.parent = {}, None


class _Section(_Piece):
    """A section's node. Of an extension and of the key, what it contains is looked at by itself."""

    def __init__(self, parent: _Above, section: Section) -> None:
        name = section.way[-1]
        super().__init__(parent, name, section.parts)
        self.section = section
        self._decoding: list[Any] = []
        parent.children[name] = self

    @property
    def children(self) -> dict[str, Any]:
        """Where it is of several parts, always under the same names: to hear the names is not to look at the parts."""
        if len(self._parts) == 1:
            self.document.looked_at.update(self._parts)
        return self._unfold()

    def _unfold(self) -> dict[str, Any]:
        if self._children is None:
            self._pdu = self.document.decode_section(self.section)
            super()._unfold()
            self._decoding = self.document.decode_inside(self)
        return self._children or {}

    def decoding(self) -> list[Any]:
        """What pkilint has to say of decoding it. It does so once, whichever section looks at this one first."""
        self._unfold()
        return self._decoding

    def _generate_child_nodes(self) -> dict[str, Any]:
        within = _parts_within(self.section)
        if not within:
            children: dict[str, Any] = super()._generate_child_nodes()
            return children
        return {name: _Piece(self, name, within[name], value) for name, value in self._pdu.items() if value.isValue}
