"""A process that judges drafts and does nothing else: it holds no token, no key and no file.

``linters`` starts it with one end of a socket pair. It answers until the other end is closed, as happens when the
signer dies: so it needs no signal to stop, and heeds none, since a signer that is stopped finishes its calls first.
"""

import gc
import signal
import socket
import sys

from sealwright.errors import PolicyViolation
from sealwright.pki.lint import judge_draft, load_pkilint
from sealwright.pki.verdicts import Reader, Verdict

MESSAGE_LIMIT = 128 * 1024


def answer(questions: Reader, data: bytes) -> Verdict:
    draft, digest = questions.read(data)
    try:
        judge_draft(draft)
    except PolicyViolation as error:
        return Verdict(digest, error.rule, error.message, error.hint)
    return Verdict(digest)


def main() -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    load_pkilint()
    gc.collect()
    gc.freeze()  # what is loaded stays: no collection looks at it again
    questions = Reader()
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        while data := channel.recv(MESSAGE_LIMIT):
            channel.send(answer(questions, data).to_bytes())


if __name__ == "__main__":
    main()
