"""Validation as a whole: holds the port, looks after the sync process and the workers, and replaces both in good order.

Workers are replaced, without a lost connection, when SIGHUP says that the configuration changed and when the sync has
put a new snapshot in the place of the old. A snapshot that is found damaged, by whoever finds it, is made again.
"""

import contextlib
import logging
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from sealwright.errors import IntegrityError, SealwrightError
from sealwright.installed import load_installed
from sealwright.pki.settings import load_settings
from sealwright.validation.children import MEMORY_FAULTS, Child, stop_all
from sealwright.validation.config import SyncConfig, ValidationConfig, WorkerConfig
from sealwright.validation.counts import SLOTS, Counts, add_up, clear, make_memory
from sealwright.validation.generations import check_file, find_current, remove_others
from sealwright.validation.listeners import bind_listeners, bind_more, share_out
from sealwright.validation.status import Status, serve_status

log = logging.getLogger("sealwright.validation")

_TICK_SECONDS = 0.1
_LOOK_TICKS = 10
"""Between two looks at the snapshot's file."""

Reload = Callable[[], ValidationConfig]


def run_validation(
    config: ValidationConfig, *, stop: threading.Event | None = None, reload: Reload | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. ``Unavailable`` when a port is taken, before anything else is done.

    ``reload`` reads the configuration again, at SIGHUP.
    """
    wanted = threading.Event()
    if stop is None:
        stop = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            _set_on(number, stop)
        if reload is not None:
            _set_on(signal.SIGHUP, wanted)
    with contextlib.ExitStack() as resources:
        service = _Service(config, resources)
        service.begin()
        ticks = 0
        while not stop.wait(_TICK_SECONDS):
            ticks += 1
            service.look_after(thorough=ticks % _LOOK_TICKS == 0)
            if wanted.is_set() and reload is not None:
                wanted.clear()
                service.reload(reload)


class _Service:
    def __init__(self, config: ValidationConfig, resources: contextlib.ExitStack) -> None:
        self._config = config
        self._listeners = bind_listeners(config.host, config.port, config.workers)
        resources.callback(self._close_listeners)
        self._status = Status(config.snapshot_folder)
        self._memory_file, self._memory = make_memory()
        resources.callback(os.close, self._memory_file)
        resources.callback(self._memory.close)
        if config.status_listen is not None:
            resources.enter_context(serve_status(self._status, config.status_listen))
        installed = load_installed(config.folder)
        settings = load_settings(installed.pinned_files()["pki.toml"], source="ca/pki.toml")
        self._pki = installed.anchor.pki_id
        self._prefix = urlsplit(settings.urls.base).path
        self._generation: Path | None = None
        self._workers: dict[int, Child] = {}
        self._leaving: dict[int, Child] = {}
        self._served_well = False
        """The workers have a snapshot, and nobody said that it is damaged."""
        self._outgoing: list[Child] = []
        """Of those that are leaving, the ones that go on until the new ones are ready."""
        self._past = Counts()
        self._deaths = 0
        self._sync = self._sync_child(rebuild=config.rebuild)
        self._rebuilding = config.rebuild
        resources.callback(lambda: stop_all([self._sync, *self._workers.values(), *self._leaving.values()]))

    def begin(self) -> None:
        self._generation = find_current(self._config.snapshot_folder)
        if self._generation is not None and self._whole() is None:
            self._rebuilding = True
            self._sync = self._sync_child(rebuild=True, damaged=True)
        self._sync.start()
        self._start_workers()
        host, port = self._listeners[0].getsockname()[:2]
        log.info("answering on %s:%d with %d workers", host, port, len(self._workers))

    def reload(self, read: Reload) -> None:
        """With the configuration as it is now. One that cannot be used changes nothing."""
        try:
            config = read()
            if (config.host, config.port) != (self._config.host, self._config.port):
                listeners = bind_listeners(config.host, config.port, config.workers)
            else:
                missing = max(0, config.workers - len(self._listeners))
                listeners = [*self._listeners, *bind_more(config.host, config.port, missing)]
        except SealwrightError as error:
            log.error("not reloaded: %s", error)  # noqa: TRY400  # one line for a person
            return
        for each in self._listeners:
            if each not in listeners:
                each.close()  # the workers that leave still have it
        self._config, self._listeners = config, listeners
        stop_all([self._sync])
        self._sync = self._sync_child(rebuild=self._rebuilding)
        self._sync.start()
        self._replace_workers()
        log.info("reloaded: %s:%d with %d workers", config.host, config.port, config.workers)

    def look_after(self, *, thorough: bool) -> None:
        code = self._sync.look_after()
        if code in MEMORY_FAULTS:
            self._rebuild("the sync process ended as one whose snapshot is damaged")
        for slot, child in list(self._workers.items()):
            code = child.look_after()
            if code is not None:
                self._deaths += 1
                self._fold(slot)
                if code in MEMORY_FAULTS:
                    self._rebuild("a worker ended as one whose snapshot is damaged")
        if self._outgoing and all(Counts.read(self._memory, slot).ready for slot in self._workers):
            self._let_go()
        for slot, child in list(self._leaving.items()):
            if child.is_gone:
                child.wait(0)
                self._fold(slot)
                del self._leaving[slot]
        current = find_current(self._config.snapshot_folder)
        if current is not None and current != self._generation:
            log.info("a new snapshot: %s", current.name)
            self._status.rebuilds += self._generation is not None
            self._generation, self._rebuilding = current, False
            self._sync.first_line = self._sync_line(rebuild=False)  # for when it is started again
            self._replace_workers()
            remove_others(self._config.snapshot_folder, current)
        if thorough:
            self._look_at_snapshot()

    def _look_at_snapshot(self) -> None:
        if self._generation is not None and self._whole() is None:
            self._rebuild("the snapshot was damaged while it was served")
        slots = [*self._workers, *self._leaving]
        if any(Counts.read(self._memory, slot).damaged for slot in self._workers):
            self._rebuild("a worker found the snapshot damaged")
        self._status.tell(
            counts=add_up([self._past, *(Counts.read(self._memory, slot) for slot in slots)]),
            workers=sum(not child.is_gone for child in self._workers.values()),
            deaths=self._deaths,
            generation=self._generation,
            rebuilding=self._rebuilding,
        )

    def _whole(self) -> Path | None:
        """The snapshot that is to be served, if it can be."""
        current = find_current(self._config.snapshot_folder)
        if current is None:
            return None
        try:
            check_file(current)
        except IntegrityError as error:
            if not self._rebuilding:
                log.error("%s", error)  # noqa: TRY400  # one line for a person
            return None
        return current

    def _rebuild(self, why: str) -> None:
        if self._rebuilding:
            return
        log.error("%s: it is made again", why)
        self._rebuilding, self._served_well = True, False
        stop_all([self._sync])
        self._sync = self._sync_child(rebuild=True, damaged=True)
        self._sync.start()
        if self._whole() is None:
            self._replace_workers()

    def _start_workers(self) -> None:
        whole = self._whole()
        self._served_well = whole is not None
        for numbers in share_out(self._listeners, self._config.workers):
            slot = next(each for each in range(SLOTS) if each not in self._workers and each not in self._leaving)
            own = WorkerConfig(
                snapshot="" if whole is None else str(whole),
                listeners=numbers,
                pki=self._pki,
                counts=self._memory_file,
                slot=slot,
                prefix=self._prefix,
            )
            child = Child("sealwright.validation.worker", own.to_json(), (*numbers, self._memory_file))
            child.start()
            self._workers[slot] = child

    def _replace_workers(self) -> None:
        """The new ones first, on the same sockets; those that have nothing to say but "later" go at once."""
        before, self._workers = self._workers, {}
        self._leaving |= before
        self._outgoing += before.values()
        if not self._served_well or any(Counts.read(self._memory, slot).damaged for slot in before):
            self._let_go()
        self._start_workers()

    def _let_go(self) -> None:
        for child in self._outgoing:
            child.ask_to_leave()
        self._outgoing = []

    def _close_listeners(self) -> None:
        for each in self._listeners:
            each.close()

    def _fold(self, slot: int) -> None:
        """What an ended worker counted stays counted."""
        ended = Counts.read(self._memory, slot)
        ended.open_connections = 0
        self._past = add_up([self._past, ended])
        clear(self._memory, slot)

    def _sync_child(self, *, rebuild: bool, damaged: bool = False) -> Child:
        return Child("sealwright.validation.sync", self._sync_line(rebuild=rebuild, damaged=damaged))

    def _sync_line(self, *, rebuild: bool, damaged: bool = False) -> bytes:
        own = SyncConfig(
            folder=str(self._config.folder),
            publication=self._config.publication,
            snapshot=str(self._config.snapshot_folder),
            poll_seconds=self._config.poll_seconds,
            rebuild=rebuild,
            believe_old=not damaged,
        )
        return own.to_json()


def _set_on(number: signal.Signals, event: threading.Event) -> None:
    signal.signal(number, lambda _number, _frame: event.set())
