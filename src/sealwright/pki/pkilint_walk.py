"""pkilint's own validators, asked with less ado: what one certificate after the other has in common is found once.

pkilint asks every validator at every node whether it is for that node, and decodes every name and extension anew. Most
say no for the node's class or place and always will; most values are those of the certificate before. The findings are
the same: ``tests/pki/test_shortcuts.py`` holds them against pkilint's own walk.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Final

from pkilint.document import ValueDecoder, create_and_append_node_from_pdu
from pkilint.validation import ValidatorContainer

_KEPT: Final = 4096


def walk(container: Any, node: Any, results: list[Any]) -> None:
    """``container.validate(node)``, its results appended to ``results``."""
    kind: Any = type(node.pdu)
    for validator, is_container in concerned(container, kind, node.path):
        if validator.match(node):
            if is_container:
                walk(validator, node, results)
            else:
                result = validator.validate_wrapper(node)
                results.extend(result if isinstance(result, list) else (result,))
    for child in node.children.values():
        walk(container, child, results)


@lru_cache(maxsize=2**14)
def concerned(container: Any, kind: Any, path: str) -> tuple[tuple[Any, bool], ...]:
    """The validators that a node of this class at this place may concern, and which of them are containers."""

    def may_match(validator: Any) -> bool:  # the first three questions of pkilint's NodeVisitor.match
        return (
            validator._path in (None, path)
            and (validator._path_re is None or validator._path_re.match(path) is not None)
            and (validator._pdu_class is None or issubclass(kind, validator._pdu_class))
        )

    plain = ValidatorContainer.validate
    return tuple((each, type(each).validate is plain) for each in container.validators if may_match(each))


def take_apart(node: Any) -> None:
    """Undo the circles of a tree (a node has its parent, the parent has the node): nobody then has to look for them."""
    children, node.children, node.parent = node.children, {}, None
    for child in children.values():
        take_apart(child)


def with_memory(validators: Iterable[Any]) -> list[Any]:
    """pkilint's decoding validators, those of names and extensions with a memory for what they decoded."""
    made = list(validators)
    for validator in made:
        decoder: Any = getattr(validator, "decode_func", None)
        if type(decoder) is ValueDecoder:
            validator.decode_func = _Remembering(
                type_path=decoder.type_path,
                value_path=decoder.value_path,
                type_mappings=decoder.type_mappings,
                default=decoder.default,
            )
    return made


class _Remembering(ValueDecoder):  # type: ignore[misc]  # pkilint has no types
    """Decodes the same octets of the same type once. Only what could be decoded is remembered."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._known: dict[tuple[int, bytes], Any] = {}

    def decode_value(self, node: Any, type_node: Any, value_node: Any, pdu_type: Any) -> Any:
        if any(value_node.children):
            return super().decode_value(node, type_node, value_node, pdu_type)
        key = (id(pdu_type), bytes(self.retrieve_substrate(value_node)))  # the types live as long as the mappings
        known = self._known.get(key)
        if known is not None:
            return create_and_append_node_from_pdu(value_node.document, known, value_node)
        decoded = super().decode_value(node, type_node, value_node, pdu_type)
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[key] = decoded.pdu
        return decoded
