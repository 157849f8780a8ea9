import resource
import subprocess
import sys

CODE = """
import resource, sys, torch
if sys.argv[1] == "prepared":
    from trainers.devices.cpu import prepare_cpu
    prepare_cpu()
for _ in range(20):
    torch.ones(1 << 23).sum()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(1 << 23).sum()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _faults(mode: str) -> int:
    done = subprocess.run([sys.executable, "-c", CODE, mode], capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_freed_memory_is_used_again_without_page_faults() -> None:
    pages = 20 * (1 << 25) // resource.getpagesize()
    assert _faults("prepared") < pages / 50 < _faults("left alone")
