"""The three commands: parse, call, print."""

import os
import signal
import sys

# Until ``edge.run_app`` can say "interrupted", Ctrl-C ends one of our programs as it ends any other: loading takes most
# of a second, and a KeyboardInterrupt in the middle of it would be a stack trace. Others who import this keep theirs.
_OURS = frozenset({"-m", "sealwright", "sealwright-ceremony", "sealwrightd"})
if os.path.basename(sys.argv[0]) in _OURS and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
