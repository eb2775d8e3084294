"""Texts in a folder: words, stretches, windows, and what is wrong with files."""

import pytest
import torch

from lit_nas.data import TextFolderDataModule
from lit_nas.data.vocabulary import Vocabulary, words_of
from lit_nas.data.window_loader import RandomWindows, TrainingLoader, batchify
from tests.support.tiny_text import WORDS, random_table, write_texts


@pytest.fixture
def folder(tmp_path):
    return write_texts(tmp_path / "text")


def test_words_and_their_numbers():
    words = words_of("the cat \n\n  sees it")
    assert words == ["the", "cat", "<eos>", "<eos>", "sees", "it", "<eos>"]
    vocabulary = Vocabulary.of(words)
    assert vocabulary.words == ("the", "cat", "<eos>", "sees", "it", "<unk>")
    assert vocabulary.encode(["it", "dog", "the"]).tolist() == [4, 5, 0]
    known = Vocabulary.of(["a", "<unk>", "b", "<eos>", "b", "<eos>", "c", "c", "c"])
    assert known.words == ("a", "<unk>", "b", "<eos>", "c")
    assert Vocabulary.of(["a", "b", "b", "<eos>", "c", "c", "c"], 4).words == ("b", "<eos>", "c", "<unk>")
    assert Vocabulary.of(["a", "b", "<eos>", "a"], 4).words == ("a", "b", "<eos>", "<unk>")


def test_a_text_is_cut_into_stretches():
    table = batchify(torch.arange(23), 2, (0, 2))
    assert table.t().tolist() == [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]]  # 20 to 22 are left out
    assert batchify(torch.arange(23), 2, (1, 2)).t().tolist() == [[10, 11, 12, 13, 14], [15, 16, 17, 18, 19]]
    assert batchify(torch.arange(23), 2, (1, 2)).is_contiguous()


def test_the_streams_of_a_search(folder):
    data = TextFolderDataModule(str(folder), batch_size=4, eval_batch_size=3, window=6, half_windows=0.3)
    assert data.spec.vocabulary == WORDS
    loaders = data.train_dataloader()
    assert set(loaders) == {"weights", "arch"}
    weights, arch = list(loaders["weights"]), list(loaders["arch"])
    assert len(weights) == len(arch) == len(loaders["weights"])
    text, other = batchify(data.tokens("train"), 4), batchify(data.tokens("valid"), 4)
    assert {len(each.tokens) for each in weights[:-1]} == {6, 3}
    position = 0
    for one, two in zip(weights, arch, strict=True):
        length = 6 if one.share == 1 else 3
        assert one.share == length / 6
        assert torch.equal(one.tokens, text[position : min(position + length, len(text) - 1)])
        assert torch.equal(one.targets, text[position + 1 : position + 1 + len(one.tokens)])
        begin = position % (len(other) - 1)
        assert torch.equal(two.tokens, other[begin : min(begin + 6, len(other) - 1)])  # of the usual length always
        assert torch.equal(two.targets, other[begin + 1 : begin + 1 + len(two.tokens)])
        assert one.first == two.first == (position == 0)
        position += length
    assert position >= len(text) - 2
    validation = list(data.val_dataloader())
    assert torch.equal(torch.cat([each.tokens for each in validation]), batchify(data.tokens("valid"), 3)[:-1])
    assert [each.first for each in validation] == [True] + [False] * (len(validation) - 1)
    test = list(data.test_dataloader())
    assert test[0].tokens.shape == (6, 1)
    assert torch.equal(torch.cat([each.targets for each in test])[:, 0], data.tokens("test")[1:])


def test_lengths_are_those_of_the_recipe():
    windows = RandomWindows(35, 0.05, 5.0, 20, 5)
    lengths = [length for epoch in range(40) for length in windows.lengths(4000, 0, epoch)]
    assert min(lengths) >= 5
    assert max(lengths) <= 55
    counted = torch.tensor(lengths, dtype=torch.float64)
    # int() cuts half a token off on average
    assert counted.mean().item() == pytest.approx(0.95 * 35 + 0.05 * 17.5 - 0.5, abs=0.4)
    assert (counted < 22).double().mean().item() == pytest.approx(0.05 * 0.84 + 0.95 * 0.0062, abs=0.015)
    plain = RandomWindows(35, 0.05, 0.0, 20, 5)
    found = [length for epoch in range(20) for length in plain.lengths(4000, 0, epoch)]
    assert set(found) == {35, 17}
    assert found.count(17) / len(found) == pytest.approx(0.05, abs=0.02)
    assert RandomWindows(10, 0.0, 0.0, 0, 1).lengths(32, 0) == [10, 10, 10]  # 31 are read, one is left over
    assert RandomWindows(10, 0.0, 0.0, 0, 1).lengths(33, 0) == [10, 10, 10, 10]


def test_all_epochs_have_as_many_windows_and_differ():
    windows = RandomWindows(9, 0.2, 3.0, 5, 2)
    loader = TrainingLoader(random_table(0, 300), windows, seed=1)
    epochs = []
    for epoch in range(10):
        loader.set_epoch(epoch)
        epochs.append([len(window.tokens) for window in loader])
        assert len(epochs[-1]) == len(loader)
    assert len(set(map(tuple, epochs))) == 10
    other = TrainingLoader(random_table(0, 300), windows, seed=2)
    other.set_epoch(9)
    assert [len(window.tokens) for window in other] != epochs[-1]


def test_a_loader_continues_within_an_epoch(folder):
    data = TextFolderDataModule(str(folder), batch_size=4, window=6, jitter=2.0, shortest=2, longest=3)
    for role, whole in data.train_dataloader().items():
        whole.set_epoch(3)
        expected = list(whole)
        again = data.train_dataloader()[role]
        again.load_state_dict({"epoch": 3, "position": 4})
        found = list(again)
        assert len(found) == len(expected) - 4
        for one, two in zip(found, expected[4:], strict=True):
            assert torch.equal(one.tokens, two.tokens)
            assert one[2:] == two[2:]


@pytest.mark.parametrize("names", ["ptb.{}.txt", "wiki.{}.tokens"])
def test_names_of_the_well_known_corpora(names, folder):
    plain = TextFolderDataModule(str(folder)).tokens("train")
    for part in ("train", "valid", "test"):
        (folder / f"{part}.txt").rename(folder / names.format(part))
    assert torch.equal(TextFolderDataModule(str(folder)).tokens("train"), plain)


def test_a_byte_order_mark_is_no_part_of_a_word(folder):
    plain = TextFolderDataModule(str(folder)).tokens("train")
    (folder / "train.txt").write_bytes(b"\xef\xbb\xbf" + (folder / "train.txt").read_bytes())
    assert torch.equal(TextFolderDataModule(str(folder)).tokens("train"), plain)


def test_files_that_are_wrong_are_named(folder):
    def read(part="train"):
        return TextFolderDataModule(str(folder)).tokens(part)

    with pytest.raises(FileNotFoundError, match=r"data\.root '.*nowhere' is no folder"):
        _ = TextFolderDataModule(str(folder / "nowhere")).spec
    (folder / "valid.txt").write_text(" \n\n")
    with pytest.raises(ValueError, match=r"valid\.txt' is empty, but the valid text needs words"):
        read("valid")
    (folder / "test.txt").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(ValueError, match=r"test\.txt' is not a text file in UTF-8"):
        read("test")
    (folder / "ptb.train.txt").write_text("a b\n")
    with pytest.raises(ValueError, match=r"has train\.txt and ptb\.train\.txt: keep one of them"):
        read()
    (folder / "ptb.train.txt").unlink()
    (folder / "train.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file '.*train\.txt' \(nor ptb\.train\.txt or wiki"):
        read()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 0}, r"data\.batch_size must be at least 1, not 0"),
        ({"window": 0}, r"data\.window must be at least 1"),
        ({"half_windows": 1.5}, r"data\.half_windows is a chance between 0 and 1, not 1\.5"),
        ({"jitter": -1.0}, r"data\.jitter and data\.longest must not be negative"),
        ({"jitter": 1.0, "shortest": 90}, r"data\.shortest is 90, but no window is longer than .* 55"),
        ({"vocabulary": 2}, r"data\.vocabulary must be at least 3"),
    ],
)
def test_numbers_that_are_wrong_are_named(arguments, message, folder):
    with pytest.raises(ValueError, match=message):
        TextFolderDataModule(str(folder), **arguments)


def test_a_text_that_is_too_short_is_named(folder):
    with pytest.raises(ValueError, match=r"data\.batch_size is 900, but the train text has \d+ tokens, which is 0 for"):
        TextFolderDataModule(str(folder), batch_size=900).train_dataloader()
    with pytest.raises(ValueError, match=r"data\.test_batch_size is 900, but the test text"):
        TextFolderDataModule(str(folder), test_batch_size=900).test_dataloader()


def test_a_run_does_not_continue_with_other_texts(folder):
    data = TextFolderDataModule(str(folder))
    data.setup("fit")
    state = data.state_dict()
    data.load_state_dict(state)
    (folder / "valid.txt").write_text("the cat sees a dog .\n" * 50)
    changed = TextFolderDataModule(str(folder))
    changed.setup("fit")
    with pytest.raises(ValueError, match=r"The valid text in '.*' is not the one that the checkpoint was made with"):
        changed.load_state_dict(state)
    (folder / "train.txt").write_text("other words\n" * 50)
    with pytest.raises(ValueError, match="another vocabulary than that of the training text"):
        TextFolderDataModule(str(folder)).load_state_dict(state)
