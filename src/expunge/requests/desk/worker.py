"""The loop of the one worker process: it takes jobs until none has come for long; `work` says how each is done.

It belongs to the project, not to the server: it goes on when the server stops, and a new server finds it at work. The
system lifts its lock when it dies; the next worker begins the job anew that was not finished.
"""

import signal
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from expunge.base.errors import ExpungeError
from expunge.compute.callbacks import TracePoint
from expunge.compute.runtime import Advance, Runtime
from expunge.requests.chain import Entry
from expunge.requests.desk.audits import sweep_audits
from expunge.requests.desk.drafts import sweep_drafts
from expunge.requests.desk.process import IDLE_SECONDS, WORKER_LOCK
from expunge.requests.desk.store import Job, JobState, Store
from expunge.requests.place import DESK_FOLDER
from expunge.requests.project import Ledger
from expunge.requests.recovery import writing

PAUSE_SECONDS = 0.2
TELL_SECONDS = 0.3
MOST_ATTEMPTS = 3
WAIT_SECONDS = 600.0
LOOK_SECONDS = 1.0
"""A worker waits so long for its lock: a server that looks whether there is one holds it for a moment."""
OLDEST_SECONDS = 86400.0
"""Jobs that are older are not begun: somebody may have put back an old copy of the desk's file."""


Result = dict[str, Any]
"""`text`: sentences for people. `failed`: whether something did not come about."""


def said(*sentences: str, **about: Any) -> Result:  # noqa: ANN401 - names of requests, a draft
    """Return what a job came to, in sentences."""
    return {"text": list(sentences), "failed": False, **about}


@dataclass(frozen=True, slots=True)
class Work:
    """One job with what it needs."""

    folder: Path
    job: Job
    runtime: Runtime

    @contextmanager
    def writing(self) -> Iterator[Ledger]:
        """Open the project for writing, signed with the person and the job."""
        with writing(self.folder, wait_seconds=WAIT_SECONDS) as ledger:
            ledger.signature = {"actor": self.job.person, "act": self.job.id}
            yield ledger

    def done_before(self, ledger: Ledger, kind: str) -> list[Entry]:
        """Return entries of a kind that an earlier attempt at this job made."""
        if self.job.attempts < 2:
            return []
        entries = ledger.database.stream(self.job.entry)
        return [entry for entry in entries if entry.kind == kind and entry.body.get("act") == self.job.id]


Do = Callable[[Work], Result]


def work_until_idle(folder: Path, do: Do, *, idle: float = IDLE_SECONDS, device: str = "auto") -> None:
    """Take jobs, one after another, until none has come for `idle` seconds; return soon if another worker does."""
    lock = FileLock(folder / DESK_FOLDER / WORKER_LOCK)
    with suppress(Timeout), lock.acquire(timeout=LOOK_SECONDS):
        store = Store.open(folder, Ledger.open(folder).keys)
        sweep_drafts(folder)
        sweep_audits(folder)
        last = time.monotonic()
        while time.monotonic() - last <= idle:
            if take_jobs(folder, store, do, device=device):
                last = time.monotonic()
            time.sleep(PAUSE_SECONDS)


def take_jobs(folder: Path, store: Store, do: Do, *, device: str = "cpu") -> int:
    """Do the jobs that are there, those among them that an earlier worker left unfinished, and return how many."""
    jobs = store.open_jobs()
    for job in jobs:
        if job.attempts >= MOST_ATTEMPTS:
            reason = f"its process died {job.attempts} times; see {DESK_FOLDER}/worker.log"
            store.update_job(replace(job, state=JobState.FAILED, error=reason, ended=time.time()))
        elif time.time() - job.created > OLDEST_SECONDS and not job.is_note:
            reason = "it waited for more than a day; ask for it again"
            store.update_job(replace(job, state=JobState.FAILED, error=reason, ended=time.time()))
        else:
            _take(folder, store, job, do, device)
    return len(jobs)


def _take(folder: Path, store: Store, job: Job, do: Do, device: str) -> None:
    """Do one job, and write what it came to."""
    result = None
    try:
        begun = store.begin_job(job, Ledger.open(folder).last.number)
        if begun is None:
            return
        telling = Telling(store, begun)
        runtime = Runtime.on(device, progress=telling)
        runtime = replace(runtime, callbacks=(telling.hear,))
        with telling.listening(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            result = do(Work(folder, begun, runtime))
        ended = replace(begun, state=JobState.DONE, result=result)
    except KeyboardInterrupt:  # may come when all is done
        ended = replace(job, state=JobState.CANCELLED if result is None else JobState.DONE, result=result)
    except ExpungeError as error:
        ended = replace(job, state=JobState.FAILED, error=str(error))
    except Exception:
        traceback.print_exc()
        ended = replace(job, state=JobState.FAILED, error=f"something unforeseen; see {DESK_FOLDER}/worker.log")
    store.update_job(replace(ended, progress=None, ended=time.time()))


@dataclass(slots=True)
class Telling:
    """Progress that is written to the store, and a watch for the wish to stop."""

    store: Store
    job: Job
    told: float = 0.0
    state: dict[str, object] = field(default_factory=dict)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def phase(self, name: str, total: int | None) -> Iterator[Advance]:
        """Tell how far the block has come, a few times a second."""
        self.state = {"phase": name, "done": 0, "total": total}
        self._tell()
        done = 0

        def advance(units: int) -> None:
            nonlocal done
            done += units
            self.state |= {"done": done}
            if time.monotonic() - self.told > TELL_SECONDS:
                self._tell()

        yield advance

    def hear(self, point: TracePoint) -> None:
        """Remember for how many pictures the goal holds."""
        self.state |= {"achieved": point.achieved}

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Interrupt the block, as Ctrl-C would, when somebody cancels the job.

        A process that was started in the background ignores Ctrl-C, and so do those that it starts; here it counts.
        """
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        watch = threading.Thread(target=self._watch, daemon=True)
        watch.start()
        try:
            yield
        finally:
            self._over.set()
            watch.join()
            signal.signal(signal.SIGINT, before)

    def _watch(self) -> None:
        while not self._over.wait(TELL_SECONDS):
            found = self.store.find_job(self.job.id)
            if found is not None and found.cancel:
                _interrupt_main_thread()
                return

    def _tell(self) -> None:
        self.told = time.monotonic()
        self.store.tell(self.job.id, self.state)


def _interrupt_main_thread() -> None:
    """Do what Ctrl-C does; where the system can, a call that waits returns at once."""
    thread = threading.main_thread().ident
    if thread is not None and hasattr(signal, "pthread_kill"):
        signal.pthread_kill(thread, signal.SIGINT)
    else:
        signal.raise_signal(signal.SIGINT)
