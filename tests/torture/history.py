"""What one writer did to one key, and what others may therefore see.

A key has one writer, who does one thing at a time. A change happened at some instant between its request and its answer,
so a value was there from an instant after its request was sent to an instant before the answer to the next change
arrived. A change without an answer is *open* until the server is down; then what is found decides whether it happened.
"""
import bisect
import math

ABSENT = None


class Lost(AssertionError):
    """Something acknowledged is not there, or something half-done is."""


class Change:
    __slots__ = ("value", "asked", "answered")

    def __init__(self, value, asked, answered=math.inf):
        self.value, self.asked, self.answered = value, asked, answered


class History:
    """The values of one key in the order in which they were written. Only the last change may be open."""

    def __init__(self, value=ABSENT):
        self.changes = [Change(value, -math.inf, -math.inf)]
        self.open = None

    @property
    def value(self):
        """The last acknowledged value."""
        return self.changes[-1].value

    def begin(self, value, now):
        assert self.open is None, "a writer does one thing at a time"
        self.open = Change(value, now)

    def acknowledge(self, now):
        self.open.answered = now
        self.changes.append(self.open)
        self.open = None

    def refuse(self):
        """The server said that it did not happen."""
        self.open = None

    def resolve(self, seen, down):
        """Takes note of what is there after the server went down at `down`."""
        if self.open is not None and seen == self.open.value:
            self.acknowledge(down)
        elif seen == self.value:
            self.open = None
        else:
            expected = [self.value] + ([self.open.value] if self.open else [])
            raise Lost(f"{seen!r} is there, must be one of {expected}")

    def times(self, value, since, until):
        """The spans between `since` and `until` in which the key may have had the value."""
        # The first change that may still have been to come at `since`; the one before it may have been the value then.
        first = bisect.bisect_left(self.changes, since, key=lambda change: change.answered)
        spans = []
        for index in range(max(first - 1, 0), len(self.changes)):
            change = self.changes[index]
            if change.asked > until:
                break
            if change.value != value:
                continue
            end = self.changes[index + 1].answered if index + 1 < len(self.changes) else math.inf
            begin, end = max(change.asked, since), min(end, until)
            if begin <= end:
                if spans and spans[-1][1] >= begin:
                    spans[-1] = (spans[-1][0], end)
                else:
                    spans.append((begin, end))
        return spans


def cut(seen, histories, since, until):
    """The earliest instant between `since` and `until` at which every key may have had the value seen; `Lost` if none.

    `seen` has the keys that are there; keys of `histories` that it does not name are absent.
    """
    for key in seen:
        if key not in histories:
            raise Lost(f"'{key}' was never written")
    spans = [(since, until)]
    for key, history in histories.items():
        value = seen.get(key, ABSENT)
        mine = history.times(value, since, until)
        both = []
        for begin, end in mine:
            for other_begin, other_end in spans:
                if max(begin, other_begin) <= min(end, other_end):
                    both.append((max(begin, other_begin), min(end, other_end)))
        if not both:
            raise Lost(
                f"'{key}' is {value!r}: it had that value during {shown(mine, since)}, "
                f"the keys before it fit only {shown(spans, since)} of {until - since:.6f} s"
            )
        spans = sorted(both)
    return spans[0][0]


def shown(spans, zero):
    return "never" if not spans else " or ".join(f"{a - zero:.6f}..{b - zero:.6f} s" for a, b in spans)
