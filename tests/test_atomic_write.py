"""Files are whole at every moment."""

import pytest

from lit_nas.atomic_write import write_text


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_text_is_written_whole_or_not_at_all(tmp_path, monkeypatch, step):
    path = tmp_path / "deep" / "file.txt"
    write_text(path, "old")
    monkeypatch.setattr(f"os.{step}", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert [entry.name for entry in path.parent.iterdir()] == ["file.txt"]


def test_a_full_disk_is_named_by_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match=r"No space left on device: '.*file\.txt'") as caught:
        write_text(tmp_path / "file.txt", "new")
    assert caught.value.errno == 28
    assert list(tmp_path.iterdir()) == []


def test_text_is_written_as_it_is_and_others_may_read_it(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("something longer that is replaced")
    write_text(path, "ä\r\nb\n")
    assert path.read_bytes() == "ä\r\nb\n".encode()
    assert path.stat().st_mode & 0o777 == 0o644
    assert [entry.name for entry in tmp_path.iterdir()] == ["file.txt"]
