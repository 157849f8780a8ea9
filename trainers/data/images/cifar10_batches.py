"""The six official binary batches of CIFAR-10: what every copy is brought to, and known by."""

import hashlib

BATCHES = {
    "data_batch_1.bin": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2.bin": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3.bin": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4.bin": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5.bin": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch.bin": "803d5f7f4d78ea53de84dbe85f74fb6d",
}
"""Official MD5 of each: 10,000 records of a label byte and 3,072 bytes of R, G and B planes."""
ROWS, PIXELS = 10_000, 32 * 32
RECORD_BYTES = 1 + 3 * PIXELS
LARGEST_ARCHIVE = 512 << 20  # bytes, packed or unpacked: more than twice what CIFAR-10 takes


def matches(name: str, content: bytes) -> bool:
    """Whether that is the official batch of that name."""
    return hashlib.md5(content, usedforsecurity=False).hexdigest() == BATCHES[name]
