"""What the shell lets a process have, where that is less than Ray and torch need.

They end in C then, with a page of addresses: what is too little is said before.
"""

import resource

import psutil

from orchestrator.errors import UserError

_GIGABYTE = 1_000_000_000
_OWN = 5 * _GIGABYTE  # of address space: what libraries map, used or not
_BESIDE_STORE = 3 * _GIGABYTE  # what a process of Ray's maps beside its store of objects
_STORE_SHARE, _STORE_MOST = 0.3, 200 * _GIGABYTE  # of the memory that is free, which the store takes
_FEW_PROCESSES = 500


def require_address_space(ray: bool) -> None:
    """Makes sure that a study's processes can map what they do.

    Args:
        ray: whether trials run under one that is started here.

    Raises:
        UserError: the shell allows less.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_AS)
    needed = _OWN
    if ray:
        store = min(_STORE_SHARE * psutil.virtual_memory().available, _STORE_MOST)
        needed = max(needed, int(_BESIDE_STORE + store))
    if allowed != resource.RLIM_INFINITY and allowed < needed:
        mend = "ulimit -v unlimited" + (", or run with --debug" if ray and allowed >= _OWN else "")
        raise UserError(
            f"this shell allows {allowed / _GIGABYTE:.1f} GB of address space (ulimit -v), and a study maps "
            f"{needed / _GIGABYTE:.0f} GB: {mend}"
        )


def few_processes() -> str:
    """What to say behind an error of Ray's where the shell allows few processes; nothing where it allows enough."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if allowed == resource.RLIM_INFINITY or allowed >= _FEW_PROCESSES:
        return ""
    return f" (this shell allows {allowed} processes, which are threads, too: ulimit -u)"
