"""A log has a bound, however it is written."""

import pytest

from medbench.execution.bounded_log import BoundedLog, read_log


@pytest.mark.parametrize("chunk", [1, 7, 100, 5000])
@pytest.mark.parametrize("total", [0, 10, 100, 101, 1000, 5000])
def test_a_log_keeps_how_it_begins_and_ends(tmp_path, chunk, total):
    printed = bytes(i % 251 for i in range(total))
    path = tmp_path / "log"
    with path.open("wb", buffering=0) as file:
        log = BoundedLog(file, size=100)
        for begin in range(0, total, chunk):
            log.write(printed[begin : begin + chunk])
        log.close()
    kept = path.read_bytes()
    if total <= 100:
        assert kept == printed
    else:
        left_out = f"\n[{total - 100:,} bytes are left out here]\n".encode()
        assert kept == printed[:50] + left_out + printed[-50:]
    assert read_log(path, size=100) == kept


def test_a_log_that_was_written_whole_is_cut_when_it_is_read(tmp_path):
    (tmp_path / "log").write_bytes(b"a" * 500 + b"b" * 500)
    kept = read_log(tmp_path / "log", size=100)
    assert kept == b"a" * 50 + b"\n[900 bytes are left out here]\n" + b"b" * 50
