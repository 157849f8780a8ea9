"""How much of a map one program holds: from the shape of the map and from how many images there are."""

from trainers.accelerated.maps import Map

LEAST = 16  # channels: the fewest a matrix unit takes
WIDEST = 64  # channels of a program
TILE = 8192  # numbers of a program, in its registers
WARPS, STAGES = 4, 1  # per program; loops of many turns are pipelined
AT_ONCE = 4096  # numbers of what one program joins over a batch
_FILLING = 256  # programs, that occupy a device: with more of them each does several tiles


def power(count: int) -> int:
    """The next power of two: programs hold so many pixels or channels."""
    return max(LEAST, 1 << (count - 1).bit_length())


def room(count: int) -> int:
    """Channels of a map that has so many that mean something."""
    return -(-count // LEAST) * LEAST


def channels(room: int) -> int:
    """Of a program, of a map with room for so many."""
    return min(power(room), WIDEST)


def held(x: Map) -> int:
    """Channels of a program that holds all pixels of an image."""
    return max(LEAST, min(channels(x.room), TILE // power(x.pixels)))


def fits(x: Map) -> bool:
    """Whether a program can hold all pixels of an image, so that InstanceNorm's way back needs no second kernel."""
    return power(x.pixels) * held(x) <= TILE


def tile(pixels: int, room: int) -> tuple[int, int]:
    """Pixels and channels of a program. The pixels divide the image's, or are all of them."""
    if power(pixels) != pixels:
        return power(pixels), max(LEAST, min(channels(room), TILE // power(pixels)))
    return min(pixels, TILE // channels(room), 256), channels(room)


def in_turn(images: int, parts: int, blocks: int) -> int:
    """Tiles that a program does one after the other."""
    tiles = 1
    while parts % (2 * tiles) == 0 and images * (parts // (2 * tiles)) * blocks >= _FILLING:
        tiles *= 2
    return tiles
