"""glibc's default `rand()` in plain Python: the additive feedback generator (TYPE_3).

r[0] = seed,  r[i] = 16807 r[i-1] mod (2^31 - 1)     for i = 1..30
r[i] = r[i-31]                                       for i = 31..33
r[i] = r[i-3] + r[i-31] mod 2^32                     from i = 34 on
output k = r[k + 344] >> 1                           (the first 310 sums are discarded)
"""

RAND_MAX = 2**31 - 1


class GlibcRandom:
    """The sequence a C program gets from `srand(seed)` and then `rand()`, `rand()`, ...

    Not calling `srand` at all is the same as seed 1.
    """

    def __init__(self, seed: int = 1) -> None:
        history = [seed or 1]
        for _ in range(30):
            history.append(16807 * history[-1] % RAND_MAX)
        history += history[:3]
        for _ in range(310):
            history.append((history[-3] + history[-31]) % 2**32)
        self._history = history[-31:]

    def rand(self) -> int:
        """The next value, 0 <= value <= 2^31 - 1."""
        word = (self._history[-3] + self._history[-31]) % 2**32
        self._history = [*self._history[1:], word]
        return word >> 1
