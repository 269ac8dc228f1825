"""Power cuts: a ceremony in a child process is killed (SIGKILL) at one exact place, and taken up by another child.

Run as a program it reads cases from its standard input, each in two forks of its own: PKCS#11 is loaded in none but
those. ``place`` is a line of the transcript; ``side`` says whether the power goes before it is written (after whatever
happened since the line before) or once it is on the disk.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal


@dataclass(frozen=True)
class Cut:
    """``folder``: a prepared ceremony, ready to be rehearsed. ``again``: where the power goes once more, in the
    resumption, if it does: that many lines after where it went first."""

    name: str
    folder: str
    place: int
    side: Literal["before", "after"]
    again: int | None = None
    lose: Literal["", "public", "private"] = ""
    """That half of the new key is lost, too."""


def cut_power(cuts: list[Cut]) -> dict[str, str]:
    """What went wrong, by case; nothing for those that went well up to the end."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps([asdict(cut) for cut in cuts]),
        capture_output=True,
        text=True,
        check=False,
        timeout=60 * len(cuts),
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return {name: said for name, said in json.loads(done.stdout).items() if said}


def _in_a_fork(action: Callable[[], object]) -> tuple[int, str]:
    """How it ended: exit code, or minus the signal; and what it said."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        code = 0
        try:
            action()
        except BaseException:
            os.write(writer, traceback.format_exc()[-3000:].encode())
            code = 1
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as said:
        text = said.read()
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), text


def _kill_at(place: int, side: str) -> None:
    """From now on this process dies there."""
    from sealwright.ceremony.transcript import Transcript

    write = Transcript.record

    def record(self: Any, entry: str, fields: Mapping[str, Any], observed: Mapping[str, Any] | None = None) -> None:
        count = self._count
        if side == "before" and count == place:
            os.kill(os.getpid(), signal.SIGKILL)
        write(self, entry, fields, observed)
        if side == "after" and count == place:
            os.kill(os.getpid(), signal.SIGKILL)

    Transcript.record = record  # type: ignore[method-assign]


def _perform(case: Cut) -> str:
    from sealwright.ceremony.sitting import rehearse, resume

    folder, record = Path(case.folder), Path(case.folder) / "rehearsal-1"

    def begin() -> None:
        _kill_at(case.place, case.side)
        rehearse(folder, unattended=True)

    def go_on() -> None:
        if case.again is not None:
            _kill_at(case.place + case.again, "after")
        resume(record)

    code, said = _in_a_fork(begin)
    if code != -signal.SIGKILL:
        return f"it was not killed, it ended with {code}: {said}"
    if case.lose:
        code, said = _in_a_fork(lambda: _lose(folder, case.lose))
        if code:
            return f"nothing was lost: {said}"
    if case.again is not None:
        code, said = _in_a_fork(go_on)
        if code != -signal.SIGKILL:
            return f"it was not killed again, it ended with {code}: {said}"
    code, said = _in_a_fork(lambda: resume(record))
    if code:
        return f"resume ended with {code}: {said}"
    code, said = _in_a_fork(lambda: _check_tokens(folder))
    return f"the tokens: {said}" if code else ""


def _lose(folder: Path, half: str) -> None:
    import pkcs11

    from sealwright.ceremony.folder import load_folder
    from sealwright.ceremony.stores import rehearsal_tokens

    object_class = {"public": pkcs11.ObjectClass.PUBLIC_KEY, "private": pkcs11.ObjectClass.PRIVATE_KEY}[half]

    def destroy(worker: Any) -> None:
        (found,) = list(worker.native.get_objects({pkcs11.Attribute.CLASS: object_class}))
        found.destroy()

    loaded = load_folder(folder)
    with rehearsal_tokens(loaded.script, loaded.site, again=True) as tokens:
        tokens.open("root")
        tokens._session("root").call_once(destroy, doing="losing half a key")


def _check_tokens(folder: Path) -> None:
    """One key pair on every token of the script."""
    from sealwright.ceremony.folder import load_folder
    from sealwright.ceremony.kinds import KINDS
    from sealwright.ceremony.stores import rehearsal_tokens
    from sealwright.hsm.census import count_halves, list_private_key_ids

    loaded = load_folder(folder)
    if loaded.script.kind in ("token-init", "officers-change", "key-destruction"):
        return  # opened by its quorums within the ceremony; and without a key in the end
    with rehearsal_tokens(loaded.script, loaded.site, again=True) as tokens:
        for name in loaded.script.tokens:
            if name in KINDS[loaded.script.kind].once:
                assert tokens.open(name) == 0, f"{name} has its key still"
                continue
            assert tokens.open(name) == 1, f"{name} has not one key"
            session = tokens._session(name)
            (key_id,) = list_private_key_ids(session)
            assert count_halves(session, key_id) == (1, 1), f"{name} has not one pair"
            tokens.close(name)


def main() -> None:
    import sealwright.ceremony.sitting  # noqa: F401  # once, for all the forks

    cases = [Cut(**case) for case in json.load(sys.stdin)]
    print(json.dumps({case.name: _perform(case) for case in cases}))


if __name__ == "__main__":
    main()
