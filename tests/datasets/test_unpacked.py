"""An archive is used as the folder it holds, and can write nothing anywhere else."""

import io
import shutil
import struct
import tarfile
import zipfile
import zlib

import numpy as np
import pytest

from medbench import counts
from medbench.cache import cache_folder
from medbench.cli import main
from medbench.datasets import archive_files, unpacked
from medbench.datasets.catalog import folder_data_set
from medbench.datasets.detect import detect
from medbench.datasets.sources.folder import FolderSource
from medbench.datasets.sources.table import TableSource
from medbench.errors import ConfigurationError, DatasetError, MachineError
from medbench.opening import FileLimit
from medbench.testing.image_files import picture_file

PICTURES = [picture_file(np.full((16, 16), 40 * i, np.uint8)) for i in range(4)]
TWO_CLASSES = {"a/0.png": PICTURES[0], "b/1.png": PICTURES[1]}
SPLIT = {
    f"{part}/{label}/{i}.png": PICTURES[i] for part in ("train", "test") for label in "ab"
    for i in range(4)
}  # fmt: skip
TAR_MODES = {".tar": "w", ".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.bz2": "w:bz2", ".txz": "w:xz"}


def zipped(path, files):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name) if name.endswith("/") else name, content)
    return path


def tarred(path, files):
    with tarfile.open(path, TAR_MODES["".join(path.suffixes)]) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def packed(path, files):
    return (zipped if path.suffix == ".zip" else tarred)(path, files)


def raw_zip(path, names, **options):
    """A zip whose names are these bytes, without a word on their encoding."""
    members = {f"{i:04d}".ljust(len(name), "_"): name for i, name in enumerate(names)}
    with zipfile.ZipFile(path, "w") as archive:
        for stand_in, name in members.items():
            member = zipfile.ZipInfo(stand_in)
            member.extra = options.get("extra", lambda name: b"")(name)
            archive.writestr(member, PICTURES[0])
    content = path.read_bytes()
    for stand_in, name in members.items():
        content = content.replace(stand_in.encode(), name)
    path.write_bytes(content)
    return path


def listing(path, **fields):
    return FolderSource(path=str(path), **fields).listing()


def names_in(path):
    folder = unpacked.unpacked(path).folder
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def unpacked_folders():
    folder = cache_folder() / "unpacked"
    return sorted(folder.iterdir()) if folder.exists() else []


def assert_nothing_written(tmp_path, before):
    """Nothing outside of the cache, and neither an entry nor half of one in it."""
    assert sorted(tmp_path.rglob("*")) == before and not unpacked_folders()
    work = cache_folder() / "work"
    assert not [path for path in work.glob("*/*") if path.name != "lock"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("MEDBENCH_CACHE", str(tmp_path_factory.mktemp("cache")))


# --- used as the folder it holds --------------------------------------------------------------


@pytest.mark.parametrize("suffix", [".zip", *TAR_MODES])
@pytest.mark.parametrize("top", ["", "archive/"])
def test_an_archive_is_the_folder_it_holds_with_or_without_one_at_its_top(tmp_path, suffix, top):
    path = tmp_path / f"kaggle{suffix}"
    packed(path, {top + name: content for name, content in SPLIT.items()} | {
        "__MACOSX/a/._0.png": b"fork", ".DS_Store": b"", f"{top}README.txt": b"Thank you",
    })  # fmt: skip
    found = listing(path)
    assert found.table["origin"].tolist() == sorted(SPLIT)
    assert found.images_per_part() == {"train": 8, "test": 8} and found.classes == ("a", "b")
    assert bytes(found.read(1)) == PICTURES[1]
    assert any("1 note or other file (.txt)" in note for note in found.notes)


def test_an_archive_is_unpacked_once_wherever_it_lies_and_again_once_it_changes(
    tmp_path, monkeypatch
):
    path = zipped(tmp_path / "one.zip", TWO_CLASSES)
    first = listing(path)
    with monkeypatch.context() as patch:
        patch.setattr(unpacked, "open_archive", None)
        assert listing(path).signature == first.signature
        elsewhere = tmp_path / "other.zip"
        elsewhere.write_bytes(path.read_bytes())
        assert listing(elsewhere).signature == first.signature
    zipped(path, TWO_CLASSES | {"a/2.png": PICTURES[2]})
    assert len(listing(path).table) == 3 and listing(path).signature != first.signature


def test_a_file_that_somebody_took_out_of_the_cache_is_unpacked_again(tmp_path):
    path = zipped(tmp_path / "one.zip", TWO_CLASSES)
    (unpacked.unpacked(path).folder / "a" / "0.png").unlink()
    unpacked._in_use.clear()  # as in another process
    assert len(listing(path).table) == 2


def test_what_is_interrupted_leaves_nothing_and_is_done_again(tmp_path, monkeypatch):
    path = zipped(tmp_path / "one.zip", TWO_CLASSES)
    before = sorted(tmp_path.rglob("*"))
    with monkeypatch.context() as patch:

        def interrupted(self, file):
            yield PICTURES[0][:10]
            raise KeyboardInterrupt

        patch.setattr(archive_files.Archive, "pieces", interrupted)
        with pytest.raises(KeyboardInterrupt):
            listing(path)
    assert_nothing_written(tmp_path, before)
    assert bytes(listing(path).read(0)) == PICTURES[0]


def test_a_full_disk_is_told_before_anything_is_written(tmp_path, monkeypatch):
    path = zipped(tmp_path / "one.zip", TWO_CLASSES)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage._replace(free=1000))
    monkeypatch.setattr(archive_files.Archive, "pieces", None)
    with (
        pytest.warns(UserWarning, match=r"MB are needed and 0\.0 MB free"),
        pytest.raises(MachineError, match="Free space"),
    ):
        listing(path)


def test_archives_in_an_archive_are_unpacked_where_they_hold_the_images(tmp_path):
    inner = {
        f"{part}.zip": zipped(tmp_path / "inner.zip", {
            f"{part}/{label}/0.png": PICTURES[0] for label in "ab"
        }).read_bytes()
        for part in ("train", "test")
    }  # fmt: skip
    path = zipped(tmp_path / "whole.zip", inner | {"labels.csv": b"file,label\n"})
    assert listing(path).images_per_part() == {"train": 2, "test": 2}
    path = zipped(tmp_path / "beside.zip", TWO_CLASSES | inner)
    assert len(listing(path).table) == 2 and "train.zip" in names_in(path)
    twice = zipped(tmp_path / "twice.zip", inner).read_bytes()
    path = zipped(tmp_path / "thrice.zip", {"twice.zip": twice})
    with pytest.raises(DatasetError, match=r"thrice\.zip/twice\.zip: .*holds archives itself"):
        listing(path)


# --- what it may not do -----------------------------------------------------------------------

OUTSIDE = ["../x.png", "/x.png", "a/../../x.png", "C:/x.png", "c:x.png", ".. /x.png", ".../x.png"]


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_that_leads_out_is_refused_and_nothing_written(tmp_path, suffix, name):
    path = packed(tmp_path / f"x{suffix}", TWO_CLASSES | {name: PICTURES[0]})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=r"a name that leads out of it\. Unpack it yourself"):
        listing(path)
    assert_nothing_written(tmp_path, before)


@pytest.mark.parametrize("name", [b"..\\x.png", b"\\x.png", b"a\\..\\..\\x.png", b"C:\\x.png"])
def test_back_slashes_of_zip_archives_are_slashes_and_lead_nowhere_either(tmp_path, name):
    with pytest.raises(DatasetError, match="a name that leads out"):
        listing(raw_zip(tmp_path / "x.zip", [name]))
    path = raw_zip(tmp_path / "x.zip", [b"a\\0.png", b"b\\1.png", b"folder\\"])
    assert names_in(path) == ["a/0.png", "b/1.png"]


@pytest.mark.parametrize("name", ["a/nul.png", "a/x.png:stream", "a/..\\x.png", "a/x.png."])
def test_names_that_mean_something_else_on_windows_are_refused_there(tmp_path, monkeypatch, name):
    path = tarred(tmp_path / "x.tar", TWO_CLASSES | {name: PICTURES[0]})
    monkeypatch.setattr(archive_files, "_WINDOWS", True)
    with pytest.raises(DatasetError, match="cannot be a file on Windows"):
        listing(path)


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (tarfile.SYMTYPE, "a link"),
        (tarfile.LNKTYPE, "a link"),
        (tarfile.FIFOTYPE, "a pipe"),
        (tarfile.CHRTYPE, "a device"),
        (b"M", "one of several parts"),
        (b"?", "something unknown"),
    ],
)
def test_only_files_are_unpacked_of_a_tar_archive(tmp_path, kind, what):
    path = tarred(tmp_path / "x.tar", TWO_CLASSES)
    with tarfile.open(path, "a") as archive:
        member = tarfile.TarInfo("a/9.png")
        member.type, member.linkname = kind, "a/0.png"
        archive.addfile(member)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=what):
        listing(path)
    assert_nothing_written(tmp_path, before)


def test_links_in_zip_archives_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        link = zipfile.ZipInfo("a/0.png")
        link.create_system, link.external_attr = 3, 0o120777 << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(DatasetError, match=r"holds a link \('a/0\.png'\)"):
        listing(tmp_path / "x.zip")


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tgz"])
def test_what_unpacks_to_too_much_is_refused_before_it_is_written(tmp_path, monkeypatch, suffix):
    path = packed(tmp_path / f"x{suffix}", TWO_CLASSES | {"a/big.png": bytes(300_000)})
    before = sorted(tmp_path.rglob("*"))
    small = FileLimit(name="an archive of images", n_bytes=250_000)
    dense = FileLimit(name="a dense archive", n_bytes=200_000)
    with monkeypatch.context() as patch:
        patch.setattr(archive_files, "DENSE_ARCHIVE", dense)
        patch.setattr(archive_files, "_DENSE", 2)
        if suffix != ".tar":  # which packs nothing
            with pytest.raises(DatasetError, match=r"to 30\d\.\d kB, and a dense archive may"):
                listing(path)
        patch.setenv("MEDBENCH_SIZE_FACTOR", "2")
        assert "a/big.png" in names_in(path)
    patch_cache = str(tmp_path.parent / f"{tmp_path.name}-cache")
    monkeypatch.setenv("MEDBENCH_CACHE", patch_cache)
    monkeypatch.setattr(archive_files, "ARCHIVE", small)
    with pytest.raises(DatasetError, match="MEDBENCH_SIZE_FACTOR"):
        listing(path)
    assert_nothing_written(tmp_path, before)


@pytest.mark.parametrize("suffix", [".zip", ".tgz"])
def test_too_many_files_are_refused(tmp_path, monkeypatch, suffix):
    path = packed(tmp_path / f"x{suffix}", SPLIT)
    monkeypatch.setattr(counts, "MOST_FILES", 7)
    with pytest.raises(DatasetError, match="files are above the limit of 7"):
        listing(path)


def test_what_is_packed_in_it_counts_with_it(tmp_path, monkeypatch):
    inner = zipped(tmp_path / "inner.zip", {"a/0.png": bytes(20_000)}).read_bytes()
    path = zipped(tmp_path / "x.zip", {f"{i}.zip": inner for i in range(20)})
    monkeypatch.setattr(archive_files, "ARCHIVE", FileLimit(name="it", n_bytes=100_000))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=r"\.zip: cannot be unpacked"):
        listing(path)
    assert_nothing_written(tmp_path, before)


def test_headers_that_announce_much_are_not_read_into_memory(tmp_path, monkeypatch):
    path = tarred(tmp_path / "x.tar", {"a/" * 60 + "0.png": PICTURES[0]})  # its name takes a file
    monkeypatch.setattr(archive_files, "_MOST_AT_ONCE", 600)
    with pytest.raises(DatasetError, match="a header of"):
        listing(path)


# --- what cannot be unpacked ------------------------------------------------------------------


def test_two_files_of_one_name_are_refused_and_two_cases_are_two_names_or_refused(tmp_path):
    path = tarred(tmp_path / "x.tar", TWO_CLASSES)
    with tarfile.open(path, "a") as archive:
        archive.addfile(tarfile.TarInfo("a/0.png"), io.BytesIO())
    with pytest.raises(DatasetError, match=r"'a/0\.png' and something else of that name"):
        listing(path)
    with pytest.raises(DatasetError, match=r"'a/0\.png/1\.png' and something else"):
        listing(zipped(tmp_path / "y.zip", TWO_CLASSES | {"a/0.png/1.png": b""}))
    path = zipped(tmp_path / "z.zip", {"x.png": PICTURES[0], "X.PNG": PICTURES[1]})
    if (tmp_path / "X.TAR").exists():
        with pytest.raises(DatasetError, match="this disk takes for the same"):
            names_in(path)
    else:
        assert names_in(path) == ["X.PNG", "x.png"]


def patched(old, new):
    return lambda content: content.replace(old, new)


def with_flag(content):
    """The first file is said to be encrypted, in its own header and in the list."""
    for mark, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        i = content.index(mark) + at
        content = content[:i] + b"\x01" + content[i + 1 :]
    return content


def of_deflate64(content):
    for mark, at in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        i = content.index(mark) + at
        content = content[:i] + struct.pack("<H", 9) + content[i + 2 :]
    return content


def with_flipped_content(content):
    i = content.index(b"a/0.png") + len("a/0.png") + 12
    return content[:i] + bytes([content[i] ^ 0xFF]) + content[i + 1 :]


@pytest.mark.parametrize(
    ("suffix", "change", "message"),
    [
        (".zip", with_flag, r"is encrypted \('a/0\.png' is, for one\)\. Unpack it yourself"),
        (".zip", of_deflate64, r"packed by deflate64, and only deflate is read.*Unpack it"),
        (".zip", lambda c: c[:-40], r"is truncated: a zip archive has the list.*Get it again"),
        (".zip", patched(b"PK\x05\x06\0\0", b"PK\x05\x06\2\0"), "the last of 3 parts"),
        (".zip", with_flipped_content, r"cannot be read as a zip or tar archive .*Get it again"),
        (".zip", lambda c: b"7z\xbc\xaf\x27\x1c" + c, "is a 7z or RAR archive"),
        (".zip", lambda c: b"<html>404</html>", "something else"),
        (".tar", lambda c: b"", "something else"),
        (".tar", lambda c: c[:1024], r"it is truncated, damaged"),
        (".tar", lambda c: c[:1300], r"it is truncated, damaged"),
        (".tar", lambda c: c[:1030] + b"?" + c[1031:], r"it is truncated, damaged"),
        (".tar", lambda c: c + c, "goes on behind its end"),
        (".tgz", lambda c: c[: len(c) // 2], r"it is truncated, damaged"),
        (".tgz", lambda c: c[:-8] + bytes(4) + c[-4:], r"CRC check failed.*Get it again"),
        (".txz", lambda c: c[: len(c) // 2], r"it is truncated, damaged"),
    ],
)
def test_what_cannot_be_unpacked_is_named_with_a_remedy(tmp_path, suffix, change, message):
    path = packed(tmp_path / f"x{suffix}", TWO_CLASSES)
    path.write_bytes(change(path.read_bytes()))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DatasetError, match=message) as caught:
        listing(path)
    assert str(path) in str(caught.value)
    assert_nothing_written(tmp_path, before)


def test_an_archive_without_files_says_so(tmp_path):
    with pytest.raises(DatasetError, match="holds no files"):
        listing(zipped(tmp_path / "x.zip", {"a/": b"", "__MACOSX/x": b"x"}))


@pytest.mark.parametrize("name", ["x.7z", "x.rar", "x.zip.001", "x.z01", "x.gz"])
def test_what_is_packed_otherwise_is_told_to_be_unpacked(tmp_path, name):
    (tmp_path / name).write_bytes(b"7z")
    with pytest.raises(DatasetError, match="Unpack it, and name the folder"):
        detect(tmp_path / name)


# --- names ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("utf-8", ["gesund/é.png", "übrig/日本.png"]),
        ("cp437", ["gutartig/ä.png", "bösartig/ß.png"]),
        ("cp850", ["não/ä.png", "São/Ø.png"]),
        ("cp866", ["норма/а.png", "опухоль/б.png"]),
        ("cp932", ["正常/あ.png", "表テスト/い.png"]),
        ("cp949", ["정상/가.png", "종양/나.png"]),
        ("gbk", ["正常/图像.png", "肿瘤（脑）/图.png"]),
    ],
)
def test_names_that_are_not_said_to_be_unicode_are_read_as_they_were_meant(
    tmp_path, encoding, names
):
    path = raw_zip(tmp_path / "x.zip", [name.encode(encoding) for name in names])
    found = listing(path)
    assert sorted(found.table["origin"]) == sorted(names)
    said = [note for note in found.notes if "are not in Unicode and are read as" in note]
    assert len(said) == (encoding != "utf-8") and all(encoding in note for note in said)


def test_names_of_no_encoding_stay_apart(tmp_path):
    names = [bytes([byte]) + b"/1.png" for byte in (0xB0, 0xB1, 0xE0, 0xFE)]
    found = listing(raw_zip(tmp_path / "x.zip", names))
    assert len(found.classes) == 4 and "read as cp437" in found.notes[0]


def test_the_name_in_the_extra_field_counts_where_it_is_of_this_name(tmp_path):
    def extra(name, of=None):
        meant = name.decode("cp1251").encode()
        field = b"\x01" + struct.pack("<I", zlib.crc32(of or name)) + meant
        return struct.pack("<HH", 0x7075, len(field)) + field

    names = [text.encode("cp1251") for text in ("норма/1.png", "опухоль/1.png")]
    assert names_in(raw_zip(tmp_path / "x.zip", names, extra=extra)) == [
        "норма/1.png", "опухоль/1.png",
    ]  # fmt: skip
    other = raw_zip(tmp_path / "y.zip", names, extra=lambda name: extra(name, b"other"))
    assert "норма/1.png" not in names_in(other)


# --- tables, and the command line -------------------------------------------------------------


def test_a_table_in_an_archive_is_named_by_a_path_through_it(tmp_path):
    table = b"image,finding\n0.png,benign\n1.png,malignant\n"
    path = zipped(tmp_path / "films.zip", {
        "films/labels.csv": table,
        **{f"films/png/{i}.png": PICTURES[i] for i in range(2)},
    })  # fmt: skip
    inside = path / "labels.csv"
    with pytest.raises(DatasetError, match=f"datasets add NAME {inside}") as caught:
        listing(path)
    assert str(cache_folder()) not in str(caught.value)
    with pytest.raises(ConfigurationError, match=f"datasets add NAME {inside}"):
        folder_data_set(inside)
    entry = detect(inside)
    assert entry == {
        "source": "table", "path": str(inside), "file": "image", "label": "finding",
    }  # fmt: skip
    source = TableSource(**entry)
    assert source.listing().table["origin"].tolist() == ["png/0.png", "png/1.png"]
    assert source.reads() == [path, unpacked.unpacked(path).folder / "labels.csv"]
    outside = tmp_path / "outside.csv"
    outside.write_bytes(table)
    entry = detect(outside, images=str(path / "png"))
    assert entry["images"] == str(path / "png")
    assert TableSource(**entry).listing().table["origin"].tolist() == ["0.png", "1.png"]
    with pytest.raises(DatasetError, match=r"other\.csv: is not in the archive\. At its top are "):
        detect(path / "other.csv")


def test_an_archive_with_an_official_split_is_added_and_audited(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    zipped(tmp_path / "archive.zip", {
        name: picture_file(rng.integers(0, 255, (16, 16), dtype=np.uint8)) for name in SPLIT
    })  # fmt: skip
    assert main(["datasets", "add", "films", "archive.zip"]) == 0
    shown = capsys.readouterr().out
    assert "train 8, val 0, test 8" in shown and "path: archive.zip" in shown
    assert main(["audit", "--data", "archive.zip"]) == 0
    assert (tmp_path / "results" / "audit" / "archive" / "audit.md").exists()
