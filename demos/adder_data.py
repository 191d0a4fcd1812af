"""Numbers as sequences of bits, lowest first: what the binary-addition networks read and write."""

import numpy as np

from autograd.spec import Array

BITS = 8
"""Steps of one training sum: addends below 128 have sums below 256."""
LARGEST = 128


def bits_of(numbers: Array, width: int) -> Array:
    """Return the bits of whole numbers (B,) below 2^64: float64 (width, B), lowest first."""
    octets = np.ascontiguousarray(numbers, dtype="<u8").view(np.uint8).reshape(-1, 8)
    bits = np.unpackbits(octets, axis=1, bitorder="little").T.astype(np.float64)
    above = np.zeros((max(0, width - 64), bits.shape[1]))
    return np.concatenate([bits[:width], above])


def addends(a: Array, b: Array, width: int = BITS) -> Array:
    """Return what the network reads: (width, B, 2)."""
    return np.stack([bits_of(a, width), bits_of(b, width)], axis=2)


def sums(a: Array, b: Array, width: int = BITS) -> Array:
    """Return what the network is to write: the bits of a + b, (width, B, 1)."""
    a, b = a.astype(np.uint64), b.astype(np.uint64)
    total = a + b  # modulo 2^64: the carry out of it is bit 64
    bits = bits_of(total, width)
    if width > 64:
        bits[64] = total < a
    return bits[:, :, None]


def number(bits: Array) -> int:
    """Return the number with these bits (width,), lowest first."""
    return sum(int(bit) << k for k, bit in enumerate(bits))


def all_pairs() -> tuple[Array, Array]:
    """Return all 16,384 pairs of addends below 128."""
    a, b = np.indices((LARGEST, LARGEST)).reshape(2, -1)
    return a, b
