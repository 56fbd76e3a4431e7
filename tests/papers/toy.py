"""A paper small enough to test the harness with: the mean of n numbers, and a scale that the remedy must not see."""

import os

import torch

from normkit.papers import Paper

FAIL = "NORMKIT_TOY_FAIL"


def toy(slug: str = "toy", **changes) -> Paper:
    """A fresh paper without runs."""
    fields = {
        "slug": slug,
        "title": "On Toys",
        "authors": ("A. Author", "B. Author"),
        "year": 2020,
        "arxiv": "2001.00001",
        "nuisance": "the scale of a vector",
        "pathology": "Vectors of other lengths look different.",
        "remedy": "Divide by the length.",
        "provides": ("torch.nn.functional.normalize",),
    }
    return Paper(**fields | changes)


paper = toy()


@paper.run(scale="smoke", minutes=0.01)
@paper.run(scale="embedded", seeds=3, minutes=0.01)
def draw(ctx):
    if os.environ.get(FAIL) == str(ctx.seed):
        raise ArithmeticError("asked to fail")
    size = ctx.pick(smoke=4, embedded=400)
    return [{"kind": "uniform", "mean": torch.rand(size).mean().item(), "threads": torch.get_num_threads()}]


@paper.judge
def judge(records, claim, show):
    claim("mean of uniform numbers", records.mean("mean"), between=(0.4, 0.6), source="arithmetic")
    claim("the mean is above its own range", records.mean("mean"), at_least=2.0, source="wishful thinking")
    claim("on a larger machine", at_most=1.0, source="section 9", reason="needs a larger machine")
    show.table(["seed", "mean"], [[record["seed"], record["mean"]] for record in records], caption="one row a seed")
    show.figure(lambda axes: axes.plot(records.values("mean")), caption="the means", alt="a line of three points")


@paper.invariance(tolerance=1e-6)
def blind_to_scale(generator):
    """The direction does not depend on the length."""
    vector = torch.randn(5, generator=generator)
    return tuple(torch.nn.functional.normalize(x, dim=0) for x in (7 * vector, vector))
