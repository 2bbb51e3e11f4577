"""Who asks for what, in an object cache: one object per key that names its owner, and one per owner that changes while it lives.

It knows keys, owners and patience; it does not know answers.

Of many who create an object one wins, and so one claims a key. An owner is taken for dead when its object is gone, when it did not
change for as long as somebody watched it by a clock of their own, or when it was written so long ago that clocks cannot be that wrong.
An owner who stalls for longer loses what it claimed: then two may ask for the same, which costs money and harms nothing.
"""

from __future__ import annotations

import json
import os
import threading
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field

from xcs_airflow.runtime.cache.entry import releasing
from xcs_airflow.runtime.cache.heartbeat import Heartbeat
from xcs_airflow.runtime.cache.object_place import ObjectPlace, side_by_side


@dataclass(frozen=True, slots=True)
class Patience:
    """How claims are kept up and given up, in seconds.

    Attributes:
        renew_s: How often an owner writes its object.
        watched_s: How long an object must not have changed, while somebody watched, until its owner counts as dead.
        old_s: How long ago it must have been written to count as dead at once, whatever two clocks differ by.
        look_s: How often somebody looks at an owner, and how soon again at a claim; the latter doubles up to `longest_look_s`.
        longest_look_s: How long a claim of one who lives is not looked at again, at most.
    """

    renew_s: float = 10
    watched_s: float = 40
    old_s: float = 180
    look_s: float = 2
    longest_look_s: float = 16


PATIENCE = Patience()


@dataclass(slots=True)
class _Owner:
    """What was seen of another owner."""

    beat: bytes | None = None
    changed_at: float = 0
    looked_at: float | None = None
    is_dead: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(frozen=True, slots=True)
class _Claim:
    """A claim of somebody else, and when it is worth another look, by the clock of this process."""

    owner: str
    pause_s: float
    look_at: float


class ObjectClaims:
    """The claims of one session.

    Args:
        place: Where claims lie.
        patience: How long others are waited for.
    """

    def __init__(self, place: ObjectPlace, patience: Patience = PATIENCE) -> None:
        self._place = place
        self._patience = patience
        self._lock = threading.Lock()
        self._heartbeat: Heartbeat | None = None
        self._owner = ""
        self._process = 0
        self._beats = 0
        self._beat_at = 0.0
        self._has_stalled = False
        self._held: set[str] = set()
        self._owners: dict[str, _Owner] = {}
        self._others: dict[str, _Claim] = {}

    def take(self, keys: Iterable[str]) -> set[str]:
        """Claim what nobody who lives has claimed; gives what is the caller's now."""
        wanted = list(dict.fromkeys(keys))
        if not wanted:
            return set()
        owner = self._own()
        is_taken = side_by_side(lambda key: self._take(key, owner), wanted)
        taken = {key for key, is_mine in zip(wanted, is_taken, strict=True) if is_mine}
        with self._lock:
            self._held |= taken
        return taken

    def release(self, keys: Iterable[str]) -> None:
        """Let others ask."""
        with self._lock:
            released = self._held.intersection(keys)
            self._held -= released
            is_safe = not self._has_stalled and time.monotonic() - self._beat_at < self._patience.watched_s
        if self._process == os.getpid():
            with releasing():
                side_by_side(lambda key: self._let_go(key, is_safe=is_safe), released)

    def close(self) -> None:
        """Release all that is left."""
        try:
            self.release(set(self._held))
        finally:
            heartbeat, self._heartbeat = self._heartbeat, None
            if heartbeat is not None and self._process == os.getpid():
                heartbeat.stop()
                with releasing():
                    self._place.delete(_owner_name(self._owner))

    def _take(self, key: str, owner: str) -> bool:
        if key in self._held:
            return True
        other = self._others.get(key)
        if other is not None and time.monotonic() < other.look_at and not self._is_dead(other.owner):
            return False
        name, mine = _claim_name(key), owner.encode()
        if self._place.create(name, mine):
            is_taken = True
        elif (loaded := self._place.load(name)) is None:  # released between the two
            is_taken = self._place.create(name, mine)
        else:
            data, version = loaded
            rival = data.decode("ascii", "replace")
            # What could not be released is still this owner's.
            is_taken = data == mine or (self._is_dead(rival) and self._place.replace(name, mine, version))
            if not is_taken:
                pause_s = self._patience.look_s if other is None else min(2 * other.pause_s, self._patience.longest_look_s)
                self._others[key] = _Claim(rival, pause_s, time.monotonic() + pause_s)
        if is_taken:
            self._others.pop(key, None)
        return is_taken

    def _let_go(self, key: str, *, is_safe: bool) -> None:
        """Remove a claim, unless somebody may have taken it over and it is theirs now."""
        name = _claim_name(key)
        if is_safe or self._place.get(name) == self._owner.encode():
            self._place.delete(name)

    def _is_dead(self, owner: str) -> bool:
        """Whether an owner is taken for dead; one who is loses its object, so that others see it at once."""
        if not (owner.isalnum() and owner.isascii()):
            return True
        with self._lock:
            seen = self._owners.setdefault(owner, _Owner())
        with seen.lock:
            now = time.monotonic()
            if not seen.is_dead and (seen.looked_at is None or now - seen.looked_at >= self._patience.look_s):
                beat = self._place.get(_owner_name(owner))
                if beat != seen.beat or seen.looked_at is None:
                    seen.beat, seen.changed_at = beat, now
                seen.looked_at = now
                seen.is_dead = beat is None or now - seen.changed_at >= self._patience.watched_s or self._is_old(beat)
                if seen.is_dead and beat is not None:
                    self._place.delete(_owner_name(owner))
            return seen.is_dead

    def _is_old(self, beat: bytes) -> bool:
        with suppress(ValueError, TypeError, LookupError, RecursionError):
            return bool(json.loads(beat)[1] < time.time() - self._patience.old_s)
        return False

    def _own(self) -> str:
        """The name of this owner, whose object lies there already; a child that was forked has one of its own."""
        with self._lock:
            if self._heartbeat is None or self._process != os.getpid():
                self._owner, self._process = uuid.uuid4().hex, os.getpid()
                self._held, self._has_stalled, self._beat_at = set(), False, time.monotonic()
                self._renew()
                self._heartbeat = Heartbeat(self._renew, self._patience.renew_s)
            return self._owner

    def _renew(self) -> None:
        self._beats += 1
        self._place.put(_owner_name(self._owner), json.dumps([self._beats, int(time.time())]).encode())
        now = time.monotonic()
        self._has_stalled |= now - self._beat_at >= self._patience.watched_s
        self._beat_at = now


def _owner_name(owner: str) -> str:
    return f"owners/{owner}.json"


def _claim_name(key: str) -> str:
    return f"claims/{key[0]}/{key}"
