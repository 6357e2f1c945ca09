class Counter:
    """Counts from one."""

    def __init__(self):
        self._value = 0

    def next(self):
        self._value += 1
        return self._value
