import numpy as np
import pytest
import torch

from normkit import data
from normkit.comparison.split import ArraySplit, BatchSplit, split_of

X, Y = torch.arange(20.0)[:, None], torch.arange(20)


def test_four_arrays_are_taken_as_they_are() -> None:
    split = split_of((X[:12].numpy(), Y[:12].numpy(), X[12:], Y[12:]))
    assert isinstance(split, ArraySplit)
    assert [len(y) for _, y in split.train(4, seed=0)] == [4, 4, 4]
    assert [len(y) for _, y in split.train(5, seed=0)] == [5, 5]
    assert torch.cat([y for _, y in split.test()]).tolist() == list(range(12, 20))


def test_one_seed_is_one_order() -> None:
    split = split_of((X, Y, X, Y))
    orders = [torch.cat([y for _, y in split.train(4, seed)]).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize("given", [(X, Y), data.batches(X, Y, 3), [(X[:10], Y[:10]), (X[10:], Y[10:])]])
def test_unsplit_data_are_split_by_the_seed(given: object) -> None:
    split = split_of(given)
    assert isinstance(split, ArraySplit)
    assert len(split.x_test) == 4
    assert sorted([*split.y_train.tolist(), *split.y_test.tolist()]) == list(range(20))
    assert torch.equal(split.x_train[:, 0].long(), split.y_train)


def test_a_bunch_becomes_images_in_the_usual_layout() -> None:
    split = split_of(data.load("digits"))
    assert isinstance(split, ArraySplit)
    x_train, y_train, x_test, _ = data.digits()
    assert torch.allclose(split.x_train, x_train)
    assert torch.equal(split.y_train, y_train)
    assert torch.allclose(split.x_test, x_test)


def test_loaders_of_other_batches_stay_as_they_are() -> None:
    batches = [{"x": X[i : i + 2], "labels": Y[i : i + 2]} for i in range(0, 20, 2)]
    split = split_of(batches)
    assert isinstance(split, BatchSplit)
    assert (len(list(split.train(99, 0))), len(list(split.test()))) == (8, 2)
    pair = split_of((batches[:7], batches[7:]))
    assert isinstance(pair, BatchSplit)
    assert len(list(pair.test())) == 3


def test_a_loaders_own_generator_follows_the_seed() -> None:
    split = split_of((data.batches(X, Y, 4), data.batches(X, Y, 4)))
    orders = [torch.cat([y for _, y in split.train(4, seed)]).tolist() for seed in (0, 0, 1)]
    assert orders[0] == orders[1] != orders[2]


def test_the_fingerprint_follows_the_data() -> None:
    one = split_of((X, Y, X, Y)).fingerprint()
    assert split_of((X.clone(), Y, X, Y)).fingerprint() == one
    assert split_of((X + 1, Y, X, Y)).fingerprint() != one


@pytest.mark.parametrize("wrong", [3, "digits", X, {"x": X}, None, (), (X, Y, X)])
def test_other_data_are_refused(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"data is a .*: give \(x_train"):
        split_of(wrong)


def test_empty_or_unequal_data_are_refused() -> None:
    with pytest.raises(ValueError, match="20 samples and y has 19"):
        split_of((X, Y[1:]))
    with pytest.raises(ValueError, match="the test part has 0 inputs"):
        split_of((X, Y, X[:0], Y[:0]))
    with pytest.raises(ValueError, match="yields no batch"):
        split_of(iter([]))
    with pytest.raises(ValueError, match="larger than the 20 training samples"):
        split_of((X, Y, X, Y)).train(21, 0)
    bunch = data.load("pydoc-topics")
    with pytest.raises(ValueError, match="no targets or no splits"):
        split_of(data.Bunch(bunch.X, None, bunch.split, bunch.meta))


def test_the_usual_mistakes_with_images_are_named() -> None:
    images = torch.randint(256, (20, 8, 8, 3), dtype=torch.uint8)
    split = split_of((images, Y, images, Y))
    assert isinstance(split, ArraySplit)
    assert split.x_train.shape == (20, 3, 8, 8)
    assert split.x_train.abs().max() <= 1
    with pytest.raises(ValueError, match="the channels stand last"):
        split_of((images.float(), Y))


def test_arrays_may_be_numpys() -> None:
    assert isinstance(split_of((np.zeros((10, 2)), np.zeros(10, int))), ArraySplit)
