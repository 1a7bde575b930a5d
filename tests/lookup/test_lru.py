"""What was used last is kept: in how many bytes, and made how often."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookup.lru import Recent


def test_what_was_used_last_is_kept_up_to_a_size() -> None:
    """Sizes sum to no more than was allowed; one value stays, however big; a failure keeps nothing."""
    recent = Recent[str, int](10, lambda value: value)
    assert [recent.get(name, lambda size=size: size) for name, size in (("a", 4), ("b", 5), ("a", 99))] == [4, 5, 4]
    assert recent.get("c", lambda: 3) == 3  # b was not used for longest
    assert recent.get("a", lambda: 98) == 4
    assert recent.get("b", lambda: 97) == 97
    assert recent.get("b", lambda: 96) == 97
    with pytest.raises(ZeroDivisionError):
        recent.get("d", lambda: 1 // 0)
    assert recent.get("d", lambda: 2) == 2


def test_what_many_threads_want_is_made_once() -> None:
    """The others wait for it, and threads that want something else do not."""
    recent, made, go_on, begun = Recent[str, int](10), list[str](), threading.Event(), threading.Event()

    def slow() -> int:
        made.append("slow")
        begun.set()
        assert go_on.wait(30)
        return 1

    with ThreadPoolExecutor(4) as pool:
        waiting = [pool.submit(recent.get, "slow", slow) for _ in range(3)]
        assert begun.wait(30)
        assert pool.submit(recent.get, "quick", lambda: 2).result(30) == 2
        go_on.set()
        assert [one.result(30) for one in waiting] == [1, 1, 1]
    assert made == ["slow"]
