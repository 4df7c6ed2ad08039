"""What the console knows on the kernel's side: a family of runs, one event log of them all, and commands.

No widget here: a message comes in as plain data and plain data goes out, so that the whole of it runs in a test, or
behind any other transport. Nothing here trains and nothing waits for training; what takes long (building a branch,
opening a shared line) is acknowledged at once and done in a thread of its own.
"""

from __future__ import annotations

import json
import math
import threading
import zlib
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import labkit
from labkit.console.finder import RateSearch
from labkit.console.looks import looks_of
from labkit.console.probe import Prober
from labkit.console.strip import thumbnail
from labkit.console.wire import SENT_BACK, Message, in_words, sendable, sent_back
from labkit.errors import CommandError, DownloadError, PlanError, shown
from labkit.insight.kinds import image_at
from labkit.settings import LIVE, OF_PHASE, OF_PLAN
from labkit.tuning import (
    CommandApplied,
    EpochDone,
    Event,
    PhaseChanged,
    Plan,
    Rewound,
    Run,
    RunFailed,
    StepDone,
    feature_extraction,
    from_scratch,
    full,
    gradual,
    partial,
)
from labkit.tuning.contracts import augmentations_of
from labkit.tuning.plans import check_seed

DELTA_BYTES = 8000  # a delta never grows beyond this
EVENTS_A_POLL = 500  # journal entries read in one handler, so that it holds its lock for well under a millisecond
LARGEST_FAMILY = 24
# The settings with a control: those of every console, then the further ones, number fields before choices.
KINDS = ("whole", "real", "choice")
FURTHER = sorted(
    (row for row in {**OF_PLAN, **OF_PHASE}.values() if row.live and row.control is not None),
    key=lambda row: KINDS.index(row.control or ""),
)
SHOWN = ("lr", "trainable_from", *(row.name for row in FURTHER))
REMEMBERED = 512  # commands whose answer is kept: one that is sent twice is done once
NAME, TEXT = 60, 500  # characters of a name and of a sentence that travel

Point = list[Any]


# ---------------------------------------------------------------- points: events in a few bytes


def short(value: float | None) -> float | None:
    """Four digits are more than a chart shows; what is not finite has no JSON and becomes None."""
    return float(f"{value:.4g}") if value is not None and math.isfinite(value) else None


def number(value: float) -> str:
    """A number as the panel writes it: 0.001, 3e-5."""
    return f"{value:.3g}".replace("e-0", "e-")


def clip(text: object, length: int = NAME) -> str:
    """A text of bounded length that can be sent, cut in the middle, because file names differ at the end."""
    whole = sendable(text if isinstance(text, str) else shown(text))
    half = (length - 1) // 2
    return whole if len(whole) <= length else f"{whole[:half]}…{whole[-half:]}"


def point(member: str, event: Event) -> Point | None:
    """An event as the list that story.js reads (POINTS there), or None for one that draws nothing."""
    match event:
        case StepDone(step=step, loss=loss, correct=correct, count=count):
            return ["s", member, step, short(loss), correct, count]
        case EpochDone():
            trained = [short(event.train_loss), event.train_correct, event.train_count]
            valid = [short(event.valid_loss), event.valid_correct, event.valid_count]
            return ["e", member, event.step, event.epoch, *trained, *valid, short(event.seconds)]
        case CommandApplied(step=step, id=ticket, kind=kind, args=args, error=error):
            told = clip(error, TEXT) if error else None
            return ["c", member, step, ticket, kind, _label(kind, args), told]
        case PhaseChanged(step=step, phase=phase, trainable_from=stage, lr=lr) if phase:
            return ["p", member, step, f"phase {phase + 1}: {stage}, lr {number(lr)}"]
        case Rewound(step=step, from_step=before):
            return ["r", member, step, before]
    return None


_SHORT_NAMES = {"trainable_from": "from", "batch_size": "batch", "weight_decay": "decay"}


def _label(kind: str, args: Mapping[str, Any]) -> str:
    """What a marker on the chart says; empty for commands that change nothing about training."""
    if kind != "set":
        return ""
    parts = []
    for name, value in args.items():
        text = number(value) if isinstance(value, float) else value
        parts.append(f"{_SHORT_NAMES.get(name, name)} {text}")
    return clip(", ".join(parts))


class EventLog:
    """All points of all runs in the order in which they were read. It only grows, so a number is a place in it."""

    def __init__(self) -> None:
        self._points: list[Point] = []
        self._sizes: list[int] = []

    def __len__(self) -> int:
        return len(self._points)

    def add(self, entry: Point) -> None:
        """Append a point."""
        self._points.append(entry)
        self._sizes.append(size_of(entry) + 2)

    def chunk(self, since: int, room: int) -> list[Point]:
        """The points from `since` on that fit into `room` bytes; at least one, if there is one."""
        end = since
        while end < len(self) and (room >= self._sizes[end] or end == since):
            room -= self._sizes[end]
            end += 1
        return self._points[since:end]


def size_of(content: object) -> int:
    """Bytes of something as JSON, as the kernel writes it, at most."""
    return len(json.dumps(content))


# ---------------------------------------------------------------- the family


@dataclass
class FollowedRun:
    """A run of the family and what was read from its journal."""

    id: str
    run: Run
    read: int = 0  # journal entries in the event log
    failure: RunFailed | None = None
    epoch_seconds: float | None = None
    saved_seconds: float = 0.0
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=20))  # of the last steps

    def follow(self, event: Event) -> None:
        """Keep what the state line says about the run."""
        match event:
            case StepDone(seconds=seconds):
                self.seconds.append(seconds)
            case EpochDone(epoch=epoch, seconds=seconds, saved_seconds=saved) if epoch:
                self.epoch_seconds, self.saved_seconds = seconds, saved
            case RunFailed():
                self.failure = event
            case Rewound():
                self.failure = None

    def row(self) -> Message:
        """The run in the list of runs."""
        run = self.run
        return {
            "id": self.id,
            "name": clip(run.name),
            "status": run.status,
            "step": run.step_number,
            "total": run.total_steps,
            "epoch": run.epoch,
        }

    def failed(self) -> Message | None:
        """Why the run cannot go on and where it was well, if that is so."""
        end = self.failure if self.run.status == "failed" else None
        if end is None:
            return None
        return {"step": end.step, "reason": clip(end.reason, TEXT), "last_good": end.last_good_step}

    def meta(self) -> Message:
        """What never changes about the run."""
        run = self.run
        stages = [[name, _size(stage)] for name, stage in run.model.named_children()]
        choices = {"augment": augmentations_of(run.data)}
        about = {"stages": stages, "seed": run.seed, "fields": _fields(choices)}
        return {**about, "looks": looks_of(run), "refuses": dict(run.refuses)}


def _fields(choices: Mapping[str, Sequence[str]]) -> list[Message]:
    """The further settings as the page is told of them; `choices` are what a run offers of some."""
    return [
        {
            "name": row.name,
            "label": row.label.capitalize(),
            "kind": row.control,
            "choices": list(choices.get(row.name, ())),
        }
        for row in FURTHER
    ]


def _size(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _spent(run: Any) -> list[float | None] | None:
    """Processor seconds spent and given, where a run has a budget."""
    budget = getattr(run, "budget", None)
    return [short(budget.spent), budget.seconds] if budget else None


class Session:
    """A console without its widget: `answer(message)` gives the replies to a message of the browser.

    Any number of views may ask, from any thread. Everything a command does is a method of `Run`.
    """

    def __init__(self, runs: Sequence[Run]) -> None:
        self._lock = threading.Lock()  # protects the event log
        self._command_lock = threading.Lock()  # commands are carried out one at a time
        self._worker_lock = threading.Lock()  # slow work is done one piece at a time, in order
        self._members: dict[str, FollowedRun] = {}
        self._events = EventLog()
        self._answers: OrderedDict[str, Message] = OrderedDict()
        self._thumbnails: dict[str, str] = {}
        for run in runs:
            self._add(run)
        self._active = next(iter(self._members))
        self.prober = Prober()
        self.rate_search = RateSearch()

    @property
    def run(self) -> Run:
        """The run that the controls act on."""
        return self._members[self._active].run

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs of the family, in the order in which they came."""
        return tuple(member.run for member in self._members.values())

    def look_now(self) -> None:
        """Bring what a look tells of the active run up to date, in this thread."""
        self.prober.look_now(self.run, self._active, self._owner(self.run))

    def close(self) -> None:
        """Nobody asks any more: end what looks at the runs."""
        self.rate_search.stop()
        self.prober.stop()

    # ------------------------------------------------------------ messages

    def answer(self, message: object) -> Message:
        """The reply to a message. A message that makes no sense gets an error as its reply, never an exception."""
        client = sent_back(message.get("client")) if isinstance(message, dict) else None
        try:
            kind = message.get("kind") if isinstance(message, dict) else None
            handlers = {
                "poll": self._poll,
                "command": self._command,
                "images": self._images,
                "figure": self._figure,
            }
            if not isinstance(message, dict) or not isinstance(kind, str) or kind not in handlers:
                raise CommandError(f"A message needs a kind, one of {', '.join(handlers)}.")
            return {"client": client, **handlers[kind](message)}
        except Exception as trouble:  # whatever it is: a page that hears nothing waits for ever
            return {"client": client, "kind": "error", "error": clip(in_words(trouble), TEXT)}

    def _poll(self, message: Message) -> Message:
        names = ("since", "probes", "finder", "look")
        since, seen, found, looked = (_whole(message, name) for name in names)
        with self._lock:
            unread = self._read_journals()
            if since > len(self._events):
                raise CommandError(f"since={clip(since)} is beyond the {len(self._events)} points.")
            if message.get("hidden") is not True:
                self.prober.look(self.run, self._active, self._owner(self.run))
            reply: Message = {"kind": "delta", "n": sent_back(message.get("n")), "since": since}
            reply |= self._state_unless(message.get("known"))
            probes = self.prober.result
            if probes is not None and probes["version"] != seen:
                reply["probes"] = probes
            rates = self.rate_search.result
            if rates is not None and rates["version"] != found:
                reply["finder"] = rates
            look = self.prober.looks.result
            if look is not None and look["version"] != looked:
                reply["look"] = look
            points = self._events.chunk(since, DELTA_BYTES - size_of(reply) - 100)
            end = since + len(points)
            return reply | {"points": points, "seq": end, "more": unread or end < len(self._events)}

    def _owner(self, run: Run) -> str:
        """The first member with the same data: what its images are called after."""
        return next(member.id for member in self._members.values() if member.run.data is run.data)

    def _read_journals(self) -> bool:
        """Put what is new in the event log; True when there is more than one handler should read."""
        left = EVENTS_A_POLL
        for member in self._members.values():
            if member.read == len(member.run.journal):
                continue
            news = member.run.journal.since(member.read)
            for _, event in news[:left]:
                member.follow(event)
                entry = point(member.id, event)
                if entry is not None:
                    self._events.add(entry)
            member.read += min(left, len(news))
            left -= min(left, len(news))
            if left == 0:
                return True
        return False

    def _state_unless(self, known: object) -> Message:
        """The state and its stamp, for a page that does not have it; the stamp is of what the state says."""
        state = self._state()
        stamp = f"{zlib.crc32(json.dumps(state).encode()):08x}"
        return {} if stamp == known else {"state": state, "known": stamp}

    def _state(self) -> Message:
        member = self._members[self._active]
        run, now = member.run, member.run.settings
        rate = len(member.seconds) / sum(member.seconds) if sum(member.seconds) else None
        return {
            "active": self._active,
            "runs": [each.row() for each in self._members.values()],
            "settings": {name: getattr(now, name) for name in SHOWN},
            "sentence": clip(self.prober.sentence, TEXT),
            "expected": clip(self.prober.expected, TEXT),
            "look": self.prober.looks.wanted,
            "finding": short(self.rate_search.progress),
            "rate": short(rate) if run.status == "running" else None,
            "epoch_seconds": short(member.epoch_seconds),
            "saved_seconds": short(member.saved_seconds),
            "budget": _spent(run),
            "failure": member.failed(),
        }

    def _images(self, message: Message) -> Message:
        """The next thumbnails of those asked for, as many as fit; the browser asks again for the rest."""
        keys = message.get("keys")
        if not isinstance(keys, list):
            raise CommandError("images needs keys, a list of what the strip named.")
        images: list[list[str]] = []
        room = DELTA_BYTES - 200
        for key in keys[:100]:
            image = self._thumbnail(str(key))
            room -= len(image) + len(str(key)) + 10
            if room < 0 and images:
                break
            images.append([str(key), image])
        return {"kind": "images", "images": images}

    def _figure(self, _: Message) -> Message:
        """The figure of the last look. It is larger than a delta may be, so it only travels when it is asked for."""
        version, address = self.prober.looks.figure
        return {"kind": "figure", "version": version, "address": address}

    def _thumbnail(self, key: str) -> str:
        if key not in self._thumbnails:
            owner, _, number = key.partition(":")
            split = self._members[owner].run.data.valid if owner in self._members else None
            place = int(number) if number.isdecimal() and len(number) < 10 else -1
            there = split is not None and 0 <= place < len(split)
            image = image_at(split, place) if split is not None and there else None
            if image is None:
                raise CommandError(f"There is no image {clip(key)!r}.")
            self._thumbnails[key] = thumbnail(image)
        return self._thumbnails[key]

    # ------------------------------------------------------------ commands

    def _command(self, message: Message) -> Message:
        """Carry a command out, or accept it; the same command sent again gets the same answer."""
        identity = message.get("id")
        if not isinstance(identity, str) or identity != sent_back(identity):
            raise CommandError(
                f"A command needs an id, a text of up to {SENT_BACK} characters that no other command has."
            )
        with self._command_lock:
            if identity not in self._answers:
                self._answers[identity] = self._carry_out(identity, message)
            if len(self._answers) > REMEMBERED:
                self._answers.popitem(last=False)
            return self._answers[identity]

    def _carry_out(self, identity: str, message: Message) -> Message:
        command = message.get("command")
        ack: Message = {"kind": "ack", "id": identity, "ok": True}
        try:
            args = {} if message.get("args") is None else message["args"]
            if not isinstance(command, str) or command not in (*OF_RUN, *COMMANDS):
                known = ", ".join((*OF_RUN, *COMMANDS))
                raise CommandError(f"The console cannot {clip(command)!r}. It takes {known}.")
            if not isinstance(args, dict):
                raise CommandError(f"{command} takes arguments by name, not {clip(args)}.")
            if command in self.run.refuses:
                raise CommandError(self.run.refuses[command])
            if command in OF_RUN:
                ticket = self.run.submit(OF_RUN[command], **args)
                ack["ticket"] = f"{self._active}:{ticket.id}"
            else:
                ack |= COMMANDS[command](self, args, identity) or {}
        except Exception as trouble:  # whatever it is, the page that waits for this command is told
            error = clip(in_words(trouble), TEXT)
            ack |= {"ok": False, "error": error, "type": type(trouble).__name__}
        return ack

    def _find_lr(self, args: Mapping[str, Any]) -> None:
        """Start the range test of the run that is shown, or stop it."""
        if args.get("stop"):
            self.rate_search.stop()
        else:
            self.rate_search.start(self.run, self._active)

    def _look(self, args: Mapping[str, Any]) -> None:
        """Draw another figure of the run that is shown, or none."""
        self.prober.looks.choose(clip(args.get("name", "")), self.run)

    def _select(self, args: Mapping[str, Any]) -> None:
        chosen = args.get("run")
        if not isinstance(chosen, str) or chosen not in self._members:
            known = ", ".join(self._members)
            raise CommandError(f"There is no run {clip(chosen)!r}. There are {known}.")
        self._activate(chosen)

    def _rename(self, args: Mapping[str, Any]) -> None:
        chosen, name = args.get("run"), args.get("name")
        member = self._members.get(chosen) if isinstance(chosen, str) else None
        if member is None:
            raise CommandError(f"There is no run {clip(chosen)!r} to give a name.")
        if not isinstance(name, str) or not 0 < len(name.strip()) <= NAME:
            raise CommandError(f"A name has 1 to {NAME} characters.")
        member.run.name = sendable(name.strip())

    def _share(self) -> Message:
        return {"value": labkit.to_line(self.run)}

    # ------------------------------------------------------------ slow commands

    def _slowly(self, identity: str, make: Callable[[], Run]) -> Message:
        """Make a new run in a thread of its own, and write in the event log how that went."""
        if len(self._members) >= LARGEST_FAMILY:
            raise CommandError(f"The console is full with {LARGEST_FAMILY} runs: open another one.")
        go_on = self.run.status == "running"

        def work() -> None:
            error, ask = None, False
            try:
                with self._worker_lock:
                    self._adopt(make(), go_on)
            except Exception as trouble:  # a thread has nobody to raise to: the panel tells it
                error, ask = clip(in_words(trouble), TEXT), isinstance(trouble, DownloadError)
            with self._lock:
                self._events.add(
                    ["o", identity, error, "download"] if ask else ["o", identity, error]
                )

        threading.Thread(target=work, name="labkit-worker", daemon=True).start()
        return {"pending": True}

    def _branch(self, args: Mapping[str, Any], identity: str) -> Message:
        run, step, name = self.run, args.get("step"), args.get("name")
        if name is not None and not isinstance(name, str):
            raise CommandError(f"A name has 1 to {NAME} characters, and {clip(name)} has none.")
        return self._slowly(identity, lambda: run.branch(step=step, name=name and clip(name)))

    def _plan(self, args: Mapping[str, Any], identity: str) -> Message:
        parent, seed = self.run, check_seed(args.get("seed", self.run.seed))
        plan = preset(clip(args.get("preset")), parent)
        return self._slowly(
            identity, lambda: Run(parent.net, parent.data, plan, seed, budget=parent.budget)
        )

    def _paste(self, args: Mapping[str, Any], identity: str) -> Message:
        line, download = args.get("line"), args.get("download") is True
        if not isinstance(line, str):
            raise CommandError("A shared run is one line of text. Copy it again, whole.")
        return self._slowly(identity, lambda: _opened(line, download))

    def _adopt(self, run: Run, go_on: bool) -> None:
        """Take a new run into the family and turn the controls to it."""
        names = {other.name for other in self.runs}
        run.name = next(name for name in _numbered(run.name) if name not in names)
        with self._lock:
            member = self._add(run)
        self._activate(member.id)
        if go_on:
            run.submit("resume")

    def _add(self, run: Run) -> FollowedRun:
        member = FollowedRun(f"r{len(self._members)}", run)
        self._events.add(["n", member.id, member.meta()])
        self._members[member.id] = member
        return member

    def _activate(self, chosen: str) -> None:
        """One run trains at a time: two would only make each other slow."""
        before = self._members[self._active].run
        if chosen != self._active and before.status == "running":
            before.submit("pause")
        self._active = chosen


def _opened(line: str, download: bool) -> Run:
    """The run of a shared line. Where it needs a download, the question is put in words for the page."""
    try:
        return labkit.from_line(line, download)
    except DownloadError as question:
        raise DownloadError(f"{question.what} Press Download and open, or leave it.") from question


def _whole(message: Message, name: str) -> int:
    value = message.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise CommandError(f"{name}={clip(value)!r} must be a whole number from 0 on.")
    return value


def _numbered(name: str) -> Any:
    yield name
    for number in range(2, LARGEST_FAMILY + 2):
        yield f"{name} ({number})"


def preset(name: str, run: Run) -> Plan:
    """One of the plans of the course, with what is in force in `run` beside its rate and depth."""
    now = run.settings
    kept: dict[str, Any] = {
        setting: getattr(now if setting in LIVE else run.plan, setting)
        for setting in OF_PLAN
        if setting != "pretrained"  # the plan that was chosen decides it
    }
    anew = {**kept, "rehearse": 0.0}  # random weights have no old task
    stages = min(3, len(run.stages))
    plans: dict[str, Callable[[], Plan]] = {
        "feature_extraction": lambda: feature_extraction(epochs=now.epochs, **kept),
        "partial": lambda: partial(now.trainable_from, epochs=now.epochs, **kept),
        "full": lambda: full(epochs=now.epochs, **kept),
        "gradual": lambda: gradual(stages, epochs=max(1, now.epochs // stages), **kept),
        "from_scratch": lambda: from_scratch(epochs=now.epochs, **anew),
    }
    if name not in plans:
        raise PlanError(f"There is no plan {clip(name)!r}. There are {', '.join(plans)}.")
    return plans[name]()


OF_RUN = {  # what the page calls a command, and the run
    "set": "set",
    "run": "resume",
    "pause": "pause",
    "step": "step",
    "rewind": "rewind",
    "reset": "reset",
}
Command = Callable[[Session, Mapping[str, Any], str], "Message | None"]
COMMANDS: dict[str, Command] = {
    "find_lr": lambda session, args, _: session._find_lr(args),
    "look": lambda session, args, _: session._look(args),
    "select": lambda session, args, _: session._select(args),
    "rename": lambda session, args, _: session._rename(args),
    "share": lambda session, _, __: session._share(),
    "branch": lambda session, args, identity: session._branch(args, identity),
    "plan": lambda session, args, identity: session._plan(args, identity),
    "paste": lambda session, args, identity: session._paste(args, identity),
}
