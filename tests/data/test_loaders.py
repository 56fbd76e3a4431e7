import numpy as np
import pytest
import torch

from normkit import data


def test_digits_have_the_documented_shapes_and_ranges() -> None:
    x_train, y_train, x_test, y_test = data.digits()
    assert x_train.shape == (1297, 1, 8, 8)
    assert x_test.shape == (500, 1, 8, 8)
    assert len(y_train) == 1297
    assert len(y_test) == 500
    assert x_train.dtype == torch.float32
    assert (x_train.min(), x_train.max()) == (-1, 1)
    for scale, bounds in {"unit": (0, 1), "raw": (0, 16), "shifted": (-0.3, 0.7)}.items():
        x = data.digits(scale)[0]
        assert (x.min().item(), x.max().item()) == pytest.approx(bounds)


def test_digits_are_split_by_numpys_permutation() -> None:
    from sklearn.datasets import load_digits

    raw = load_digits()
    order = np.random.default_rng(0).permutation(1797)
    x_train, y_train, _, y_test = data.digits(train=1200)
    assert np.array_equal(x_train[:, 0].numpy(), (raw.images[order[:1200]] / 8 - 1).astype(np.float32))
    assert np.array_equal(y_train.numpy(), raw.target[order[:1200]])
    assert len(y_test) == 597
    bunch = data.load("digits")
    assert np.array_equal(bunch.split["train"], order[:1297])


def test_another_split_seed_gives_another_split() -> None:
    assert not torch.equal(data.digits(split_seed=0)[1], data.digits(split_seed=1)[1])


@pytest.mark.parametrize("wrong", [{"scale": "percent"}, {"train": 0}, {"train": 1797}])
def test_digits_refuse_what_they_cannot_give(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        data.digits(**wrong)  # type: ignore[arg-type]


def test_batches_hold_every_sample_once_and_follow_from_the_seed() -> None:
    X, y = np.arange(10.0)[:, None], np.arange(10)
    one = list(data.batches(X, y, 4, seed=3))
    assert [len(x) for x, _ in one] == [4, 4, 2]
    assert sorted(torch.cat([target for _, target in one]).tolist()) == list(range(10))
    assert all(torch.equal(x[:, 0].long(), target) for x, target in one)
    again = list(data.batches(X, y, 4, seed=3))
    assert all(torch.equal(a[1], b[1]) for a, b in zip(one, again, strict=True))
    other = list(data.batches(X, y, 4, seed=4))
    assert not all(torch.equal(a[1], b[1]) for a, b in zip(one, other, strict=True))


def test_a_loader_shuffles_anew_in_each_epoch() -> None:
    loader = data.batches(np.arange(64), np.arange(64), 64)
    first, second = next(iter(loader))[1], next(iter(loader))[1]
    assert not torch.equal(first, second)


def test_batches_in_order_and_without_the_last() -> None:
    loader = data.batches(np.arange(10), np.arange(10), 4, shuffle=False, drop_last=True)
    assert [y.tolist() for _, y in loader] == [[0, 1, 2, 3], [4, 5, 6, 7]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(3), np.zeros(2), 1), "3 samples and y has 2"),
        ((np.zeros(0), np.zeros(0), 1), "no sample"),
        ((np.zeros(3), np.zeros(3), 0), "batch_size is 0"),
    ],
)
def test_batches_refuse_what_they_cannot_cut(arguments: tuple[np.ndarray, np.ndarray, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.batches(*arguments)


def test_words_are_numbered_by_frequency_and_the_rest_shares_one_number() -> None:
    ids, kept = data.words("to be or not to be, to be\n to", 4)
    assert set(kept[:2]) == {" be", " to"}  # twice each, the others once
    assert len(kept) == 4
    assert kept[-1] == ""
    told = [kept[index] for index in ids.tolist()]
    assert [word for word in told if word] == [
        w for w in ["to", " be", " or", " not", " to", " be,", " to", " be", "\n to"] if w in kept
    ]
    assert told.count("") == 9 - len([word for word in told if word])


@pytest.mark.parametrize(("vocabulary", "message"), [(0, "at least 1"), (9, "5 different words")])
def test_words_refuse_a_vocabulary_that_cannot_be(vocabulary: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.words("one two three four five", vocabulary)


def test_a_text_is_split_by_its_characters() -> None:
    train, rest, alphabet = data.character_split()
    whole = data.text("pydoc-topics")
    assert "".join(alphabet[index] for index in [*train[:50], *rest[-50:]]) == whole[:50] + whole[-50:]
    assert len(train) == int(0.9 * len(whole))
    assert len(train) + len(rest) == len(whole)
    with pytest.raises(ValueError, match=r"train is 1\.0"):
        data.character_split(train=1.0)


def test_characters_round_trip() -> None:
    ids, alphabet = data.characters("abracadabra")
    assert alphabet == "abcdr"
    assert "".join(alphabet[i] for i in ids.tolist()) == "abracadabra"
    with pytest.raises(ValueError, match="'z', which is not in the alphabet of 5"):
        data.characters("abz", alphabet)


def test_text_windows_look_one_token_ahead_and_repeat() -> None:
    ids = torch.arange(50)
    windows = data.text_batches(ids, context=8, batch_size=3, steps=5, seed=1)
    assert len(windows) == 5
    one, two = list(windows), list(windows)
    for (x, y), (again, _) in zip(one, two, strict=True):
        assert x.shape == y.shape == (3, 8)
        assert torch.equal(y, x + 1)
        assert torch.equal(x, again)
    starts = {int(x[row, 0]) for x, _ in data.text_batches(torch.arange(10), 8, 4, 50) for row in range(4)}
    assert starts == {0, 1}  # every window that fits, also the last


@pytest.mark.parametrize("wrong", [{"context": 50}, {"batch_size": 0}, {"steps": 0}])
def test_text_windows_refuse_what_does_not_fit(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least"):
        data.text_batches(torch.arange(50), **{"context": 8, "batch_size": 3, "steps": 5, **wrong})


def test_text_joins_documents() -> None:
    bunch = data.load("pydoc-topics")
    assert data.text("pydoc-topics").startswith(bunch.X[0] + "\n\n" + bunch.X[1][:10])
    with pytest.raises(ValueError, match="digits holds uint8 arrays, not text"):
        data.text("digits")


def test_the_parts_of_one_text_are_joined_by_nothing(data_folder: object) -> None:
    if not data.describe("tinyshakespeare")["available"]:
        pytest.skip("tinyshakespeare is not on this machine")
    assert len(data.text("tinyshakespeare")) == 1_115_394
