"""CIFAR-10 as people have it: every form gives the same arrays, and what is not right is named and left alone."""

import os
import pickle
import pickletools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.trainers.small_cifar10 import as_python_2, as_python_3, make_small, pickled, put, tar
from trainers.data.images import cifar10, cifar10_sources
from trainers.data.images.pickled import array_of, read_pickled
from trainers.errors import DataError

Files = dict[str, bytes]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Files:
    """Six small batches; whoever fetches is found out."""

    def fetched(*_: object) -> None:
        raise AssertionError("fetched, though nobody asked for it")

    monkeypatch.setattr(cifar10_sources, "bring", fetched)
    return make_small(monkeypatch)


def _everything(folder: Path) -> dict[str, bytes | None]:
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


FORMS: dict[str, Callable[[Path, Files], Path]] = {
    "binary folder": lambda root, small: put(root / "cifar-10-batches-bin", small),
    "its parent": lambda root, small: put(root / "cifar-10-batches-bin", small).parent,
    "python folder": lambda root, small: put(root / "cifar-10-batches-py", pickled(small)),
    "its parent, as torchvision's root": lambda root, small: put(root / "cifar-10-batches-py", pickled(small)).parent,
    "binary archive": lambda root, small: (
        put(root, {"cifar-10-binary.tar.gz": tar("cifar-10-batches-bin", small)}) / "cifar-10-binary.tar.gz"
    ),
    "its folder": lambda root, small: put(root, {"cifar-10-binary.tar.gz": tar("cifar-10-batches-bin", small)}),
    "python archive": lambda root, small: (
        put(root, {"cifar-10-python.tar.gz": tar("cifar-10-batches-py", pickled(small))}) / "cifar-10-python.tar.gz"
    ),
    "its folder, as torchvision's root": lambda root, small: put(
        root, {"cifar-10-python.tar.gz": tar("cifar-10-batches-py", pickled(small))}
    ),
    "archive by another name, not packed": lambda root, small: (
        put(root, {"mine.tar": tar("./any", pickled(small), "w")}) / "mine.tar"
    ),
    "packed again, its files in no folder": lambda root, small: put(
        root, {"cifar-10-python.tgz": tar(".", pickled(small))}
    ),
    "python's, written again by Python 3": lambda root, small: put(
        root,
        {name.removesuffix(".bin"): as_python_3(each, 2 + ("test" in name)) for name, each in small.items()},
    ),
    "half of it in another form": lambda root, small: put(
        put(root / "cifar-10-batches-bin", {name: small[name] for name in list(small)[:3]}).parent,
        {"cifar-10-python.tar.gz": tar("cifar-10-batches-py", pickled(small))},
    ),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_every_form_gives_the_same_arrays_and_checksum_and_nothing_is_written(
    form: str, small: Files, tmp_path: Path
) -> None:
    flat = cifar10.load(put(tmp_path / "flat", small))
    path = FORMS[form](tmp_path / "given", small)
    before = _everything(tmp_path)
    arrays = cifar10.load(path)
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        assert torch.equal(getattr(arrays, name), getattr(flat, name)), name
    assert arrays.checksum == flat.checksum
    assert _everything(tmp_path) == before


def _damaged(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def _some(small: Files, name: str, content: bytes) -> Files:
    return small | {name: content}


WRONG: dict[str, tuple[Callable[[Path, Files], Path], list[str]]] = {
    "a damaged batch": (
        lambda root, small: put(root, _some(small, "data_batch_3.bin", _damaged(small["data_batch_3.bin"]))),
        ["data_batch_3.bin: it is damaged"],
    ),
    "half a batch": (
        lambda root, small: put(root / "cifar-10-batches-bin", _some(small, "test_batch.bin", b"half")).parent,
        ["cifar-10-batches-bin/test_batch.bin: it is incomplete or damaged, it has 4 bytes rather than 6,146"],
    ),
    "a batch less": (
        lambda root, small: put(root, {name: small[name] for name in list(small)[:-1]}),
        ["it lacks test_batch.bin; there is data_batch_1.bin, data_batch_2.bin"],
    ),
    "half a pickle": (
        lambda root, small: put(root / "cifar-10-batches-py", _some(pickled(small), "data_batch_2", b"\x80\x02}q")),
        ["data_batch_2: it is no pickle, or is cut off or damaged"],
    ),
    "a damaged pickle": (
        lambda root, small: put(
            root, _some(pickled(small), "data_batch_2", as_python_2("", _damaged(small["data_batch_2.bin"])))
        ),
        ["data_batch_2: it is damaged"],
    ),
    "another pickle": (
        lambda root, small: put(root, _some(pickled(small), "test_batch", pickle.dumps(["data"]))),
        ["test_batch: it is a pickle of something else than a dictionary (list)"],
    ),
    "cifar-100": (
        lambda root, small: put(root / "cifar-100-python", {"train": b"1", "test": b"2", "meta": b"3"}),
        ["CIFAR-10: there is meta, test, train. Looked for"],
    ),
    "cifar-100's archive": (
        lambda root, small: (
            put(root, {"cifar-100-python.tar.gz": tar("cifar-100-python", {"train": b"1"})}) / "cifar-100-python.tar.gz"
        ),
        ["cifar-100-python.tar.gz: it is an archive without a batch of CIFAR-10"],
    ),
    "pictures": (
        lambda root, small: put(root / "train" / "frog", {"0001.png": b"png"}).parent.parent,
        ["CIFAR-10: there is train. Looked for"],
    ),
    "half a copy, damaged": (
        lambda root, small: put(root, {name: b"" for name in pickled(small) if name[-1] in "125h"}),
        ["data_batch_1: it is no pickle", "; 1 more like that; it lacks data_batch_3.bin, data_batch_4.bin; there is"],
    ),
    "no file": (lambda root, small: Path("/dev/null"), ["it is neither a folder nor a file"]),
    "half an archive": (
        lambda root, small: put(root, {"cifar-10-binary.tar.gz": tar("x", small)[:-3000]}),
        ["cifar-10-binary.tar.gz: it is"],
    ),
    "a page": (
        lambda root, small: put(root, {"cifar-10-python.tar.gz": b"<!DOCTYPE html><html>404"}),
        ["cifar-10-python.tar.gz: it is no archive but a page of HTML"],
    ),
    "a file that is none of these": (
        lambda root, small: put(root, {"cifar10.npz": b"PK\x03\x04" + bytes(2000)}) / "cifar10.npz",
        ["it is no tar archive, or is cut off or damaged", "it begins with b'PK"],
    ),
    "a folder in a file's place": (
        lambda root, small: (put(root, small), (root / "test_batch.bin").unlink(), (root / "test_batch.bin").mkdir())
        and root,
        ["test_batch.bin: it is no file"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_not_right_is_named_with_what_was_looked_for_and_nothing_is_written(
    case: str, small: Files, tmp_path: Path
) -> None:
    make, hints = WRONG[case]
    path = make(tmp_path / "given", small)
    before = _everything(tmp_path)
    with pytest.raises(DataError) as caught:
        cifar10.load(path)
    for hint in (
        str(path),
        *hints,
        "cifar-10-batches-bin",
        "cifar-10-python.tar.gz",
        "with --data, or an empty folder",
    ):
        assert hint in str(caught.value)
    assert "\n" not in str(caught.value)
    assert _everything(tmp_path) == before


def test_a_damaged_file_is_said_and_passed_over_where_another_copy_lies_beside_it(
    small: Files, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "cifar-10-batches-py", pickled(small) | {"data_batch_4": b"half"})
    put(tmp_path, {"cifar-10-python.tar.gz": tar("cifar-10-batches-py", pickled(small))})
    assert cifar10.fetch(tmp_path) == small
    said = capsys.readouterr().err
    assert "cifar-10-batches-py/data_batch_4: it is no pickle" in said
    assert said.count("\n") == 1


def test_a_mistyped_archive_is_no_folder_to_put_data_into(small: Files, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cifar-10-pyhton\.tar\.gz is not there: pass the path of an archive that is"):
        cifar10.load(tmp_path / "cifar-10-pyhton.tar.gz")
    assert not list(tmp_path.iterdir())


class _Runs:
    """What runs a command where it is unpickled."""

    def __init__(self, *call: Any) -> None:
        self.call = call

    def __reduce__(self) -> Any:
        return self.call


def _evil(small: Files, ran: Path) -> dict[str, tuple[bytes, str]]:
    """Pickles that would run something, each with what it is refused by."""
    whole = as_python_2("", small["data_batch_1.bin"])
    script = f"open({str(ran)!r}, 'w')".encode()
    return {
        "a call": (pickle.dumps(_Runs(os.system, (f"touch {ran}",))), "posix.system"),
        "a call of an old protocol": (pickle.dumps(_Runs(eval, (script.decode(),)), 0), "builtin__.eval"),
        "before what it should be": (
            b"\x80\x02cbuiltins\nexec\nU" + bytes([len(script)]) + script + b"\x85R0" + whole[2:], "builtins.exec"
        ),
        "an instance": (b"(S'touch " + str(ran).encode() + b"'\nios\nsystem\n.", "INST"),
        "by its name on the stack": (b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x05touch\x85R.", "os.system"),
        "numpy's own": (pickle.dumps(_Runs(np.load, (str(ran),))), "numpy"),
        "a function of the allowed module": (b"\x80\x02cnumpy.core.multiarray\nfromstring\n)R.", "fromstring"),
        "an object": (b"\x80\x02cbuiltins\nobject\n)\x81.", "builtins.object"),
        "what is made of a class": (b"\x80\x02cnumpy\nndarray\n)\x81.", "NEWOBJ"),
        "a number of copyreg's": (b"\x80\x02\x82\x01.", "EXT1"),
        "an object from elsewhere": (b"\x80\x02U\x01aQ.", "BINPERSID"),
    }  # fmt: skip


EVIL = tuple(_evil({"data_batch_1.bin": bytes(6146)}, Path("ran")))


@pytest.mark.parametrize("case", EVIL)
def test_a_pickle_that_would_run_something_is_refused_by_name_and_runs_nothing(
    case: str, small: Files, tmp_path: Path
) -> None:
    content, name = _evil(small, tmp_path / "ran")[case]
    put(tmp_path / "cifar-10-batches-py", pickled(small) | {"data_batch_1": content})
    with pytest.raises(DataError, match=r"cifar-10-batches-py/data_batch_1: it is refused: it") as caught:
        cifar10.load(tmp_path)
    assert name in str(caught.value)
    assert not (tmp_path / "ran").exists()


def test_the_commands_of_these_pickles_do_run_where_they_are_unpickled(small: Files, tmp_path: Path) -> None:
    """Else the test above would show nothing."""
    content, _ = _evil(small, tmp_path / "ran")["a call"]
    subprocess.run([sys.executable, "-c", f"import pickle; pickle.loads({content!r})"], check=True)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_an_array_is_read_as_numpy_writes_it(protocol: int, order: Any) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(3, 4)
    content = pickle.dumps({"data": np.array(images, order=order)}, protocol)
    assert np.array_equal(array_of(read_pickled(content)["data"], (3, 4)), images)


def test_python_2_s_form_is_what_pickle_reads_so() -> None:
    """The form that the tests above write by hand."""
    content = as_python_2("batch", bytes(range(256)) * 24 + b"ab")
    read = pickle.loads(content, encoding="bytes")
    assert read[b"data"].shape == (2, 3072)
    assert read[b"data"].tobytes()[:3] == b"\x01\x02\x03"
    assert (read[b"labels"], read[b"filenames"]) == ([0, 1], [b"frog_000000.png", b"frog_000001.png"])
    assert {opcode.name for opcode, _, _ in pickletools.genops(content)} >= {"SHORT_BINSTRING", "BINSTRING", "BUILD"}


GREEDY = {
    "a memo of billions": b"\x80\x02}r\xff\xff\xff\x7f.",
    "an array of terabytes": b"\x80\x02}(U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n"
    b"J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86U\x01b\x87Ru.",
    "a text of exabytes": b"\x80\x04\x8d" + b"\xff" * 7 + b"\x7f.",
    "a list in itself, for a name": b"\x80\x02}]q\x01h\x01aNs.",
    "appended to itself, without end": b"\x80\x02]q\x01h\x01a.",
    "without operands": b"\x80\x02R.",
    "filling what is none": b"\x80\x02}Nb.",
}  # fmt: skip


@pytest.mark.parametrize("case", GREEDY)
def test_a_pickle_is_believed_no_size(case: str, small: Files, tmp_path: Path) -> None:
    put(tmp_path, pickled(small) | {"data_batch_1": GREEDY[case]})
    with pytest.raises(DataError, match="data_batch_1: it "):
        cifar10.load(tmp_path)
