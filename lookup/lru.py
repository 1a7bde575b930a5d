"""What was used last, kept up to a size; what is missing is made once, however many threads ask for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Recent(Generic[Key, Value]):
    """A mapping that drops what was not used for longest when sizes sum to more than `most`. Threads may share it."""

    def __init__(self, most: int, size: Callable[[Value], int] = lambda value: 1) -> None:
        """`size` says what a value counts; one that counts more than `most` is kept until the next one comes."""
        self._most, self._size, self._sum = most, size, 0
        self._lock = threading.Lock()  # of all below; never held while a value is made
        self._kept: OrderedDict[Key, Value] = OrderedDict()  # used last comes last
        self._making: dict[Key, threading.Lock] = {}

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        """The value of `key`, made by `make` if it is not kept; threads that want the same key wait for one."""
        with self._lock:
            if key in self._kept:
                return self._used(key)
            making = self._making.setdefault(key, threading.Lock())
        with making:
            with self._lock:
                if key in self._kept:  # another thread made it meanwhile
                    return self._used(key)
            try:
                value = make()
                self._keep(key, value)  # before the lock is gone, or who comes between makes it once more
            finally:
                with self._lock:
                    self._making.pop(key, None)
        return value

    def _used(self, key: Key) -> Value:
        self._kept.move_to_end(key)
        return self._kept[key]

    def _keep(self, key: Key, value: Value) -> None:
        with self._lock:
            if key in self._kept:
                self._sum -= self._size(self._kept.pop(key))
            self._kept[key] = value
            self._sum += self._size(value)
            while self._sum > self._most and len(self._kept) > 1:
                self._sum -= self._size(self._kept.popitem(last=False)[1])
