"""A binary tree of counts over [low, high], and distance sums from its noisy copy.

Level l of a tree of depth h has 2^l nodes; level h is the m = 2^h equal bins with centres g. A tree is one flat array,
the root first: node i of level l stands at 2^l − 1 + i. Leading axes hold independent trees (one a coordinate).

- *consistent*: the least-squares leaf counts u given the noisy counts c̃ of all nodes (Hay et al. 2010). Bottom-up,
  z = (2^k − 2^{k−1})/(2^k − 1) c̃ + (2^{k−1} − 1)/(2^k − 1) Σ z_children for a node whose subtree has k levels, z = c̃
  at the leaves; top-down, u = z + (u_parent − Σ z_siblings)/2. Then Σ_i u_i |g_i − y| by prefix sums.
- *geometric* (Backurs et al. 2024, arXiv:2403.08917, section on ℓ1): both sides of y in shells whose width grows by
  1 + α, each counted from at most 2h nodes and taken at its middle.
"""

import math

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

__all__ = [
    "bin_centers",
    "bin_index",
    "consistent_leaves",
    "distance_sums",
    "distance_variance",
    "geometric_sums",
    "leaf_variance",
    "tree_counts",
]


def bin_centers(low: float, high: float, depth: int) -> Float[ndarray, "m"]:
    """Centres of the 2^depth equal bins of [low, high]."""
    width = (high - low) / 2**depth
    return low + width * (np.arange(2**depth) + 0.5)


@np.errstate(all="ignore")  # whatever the caller's setting: an error or a warning would tell of a row
def bin_index(x: Float[ndarray, "n"], low: float, high: float, depth: int) -> Int[ndarray, "n"]:
    """The bin of each value; values outside are taken at the nearer end, and the last bin is closed."""
    leaves = 2**depth
    index = np.floor((np.clip(x, low, high) - low) * (leaves / (high - low)))
    return np.minimum(index, leaves - 1).astype(np.int64)


def tree_counts(index: Int[ndarray, "n"], depth: int) -> Int[ndarray, "nodes"]:
    """Counts of every node, the root first, of rows that fall into the leaves `index`."""
    levels = [np.bincount(index, minlength=2**depth)]
    for _ in range(depth):
        levels.append(levels[-1].reshape(-1, 2).sum(axis=1))
    return np.concatenate(levels[::-1]).astype(np.int64)


def consistent_leaves(
    nodes: Float[ndarray, "*trees nodes"], total: float | None = None
) -> Float[ndarray, "*trees leaves"]:
    """Least-squares leaf counts from noisy node counts (equal variances); `total` where the root is known exactly."""
    levels = _levels(np.asarray(nodes, dtype=np.float64))
    up = [levels[-1]]
    for below, level in enumerate(reversed(levels[:-1]), start=2):
        own, whole = 2.0**below, 2.0**below - 1
        children = up[-1].reshape(*level.shape, 2).sum(axis=-1)
        up.append((own - own / 2) / whole * level + (own / 2 - 1) / whole * children)
    u = up.pop() if total is None else np.full_like(up.pop(), total)
    while up:
        z = up.pop()
        pairs = z.reshape(*u.shape, 2)
        u = (pairs + ((u - pairs.sum(axis=-1)) / 2)[..., None]).reshape(z.shape)
    return u


def distance_sums(
    leaves: Float[ndarray, "m"], centers: Float[ndarray, "m"], y: Float[ndarray, "q"]
) -> Float[ndarray, "q"]:
    """Σ_i u_i |g_i − y| for each query, in O(log m): (T_m − T_j) − y(C_m − C_j) + y C_j − T_j, j = #{g < y}."""
    counts = np.concatenate(([0.0], np.cumsum(leaves)))
    moments = np.concatenate(([0.0], np.cumsum(leaves * centers)))
    j = np.searchsorted(centers, y)
    return moments[-1] - 2 * moments[j] - y * (counts[-1] - 2 * counts[j])


def geometric_sums(
    nodes: Float[ndarray, "nodes"], low: float, high: float, alpha: float, y: Float[ndarray, "q"]
) -> Float[ndarray, "q"]:
    """The paper's query: shells of growing width on both sides of y, each at its middle distance."""
    levels = _levels(np.asarray(nodes, dtype=np.float64))
    depth = len(levels) - 1
    centers, width = bin_centers(low, high, depth), (high - low) / 2**depth
    inside = np.clip(y, low, high)
    answer = np.abs(y - inside) * levels[0][0]
    outer = high - low
    while outer > width / 2:
        inner = outer / (1 + alpha)
        inner = 0.0 if inner < width / 2 else inner
        right = _count_between(levels, centers, inside + inner, inside + outer)
        left = _count_between(levels, centers, inside - outer, inside - inner)
        answer += (right + left) * (outer + inner) / 2
        outer = inner
    return answer


def leaf_variance(weights: Float[ndarray, "q leaves"], root_known: bool) -> Float[ndarray, "q"]:
    """Variance of Σ_i w_i u_i where u are consistent leaves and each node has noise of variance 1.

    The normal matrix of least squares is a sum of block averages over the dyadic intervals, so Haar wavelets are its
    eigenvectors: one of support 2^k has the eigenvalue 2^k − 1, the constant has 2^{h+1} − 1 (or is known exactly).
    """
    sums, variance = weights, np.zeros(len(weights))
    depth = int(math.log2(weights.shape[1]))
    for k in range(1, depth + 1):
        pairs = sums.reshape(len(sums), -1, 2)
        variance += ((pairs[..., 0] - pairs[..., 1]) ** 2).sum(axis=1) / (2.0**k * (2.0**k - 1))
        sums = pairs.sum(axis=2)
    return variance if root_known else variance + sums[:, 0] ** 2 / (2.0**depth * (2.0 ** (depth + 1) - 1))


def distance_variance(
    y: Float[ndarray, "q"], low: float, high: float, depth: int, root_known: bool
) -> Float[ndarray, "q"]:
    """`leaf_variance` of the weights |g_i − y| in O(depth) a query.

    Take it in bins: t = (y − low)/width, weights |i + ½ − t|. In a block of 2^k bins that lies on one side of y, each
    weight of the far half is 2^{k−1} more than its partner in the near half, so the halves differ by 4^{k−1}, whatever
    y is. Only the one block a level that y lies in differs by another number, and that is a difference of sums of
    |i + ½ − u| in closed form, u being where y is in the block. So level k gives

        width² [(m/2^k − 1) 4^{2(k−1)} + difference²]/(2^k (2^k − 1)),

    and the root, where it is noisy, width² (Σ_i |i + ½ − t|)²/(m (2m − 1)).
    """
    leaves, width = 2**depth, (high - low) / 2**depth
    t = (y - low) / width
    inside = np.clip(t, 0.0, leaves)
    variance = np.zeros(len(y))
    for k in range(1, depth + 1):
        size, half = 2.0**k, 2.0 ** (k - 1)
        u = inside - size * np.minimum(np.floor(inside / size), leaves / size - 1)
        difference = _sum_of_distances(0.0, half, u) - _sum_of_distances(half, size, u)
        variance += ((leaves / size - 1) * half**4 + difference**2) / (size * (size - 1))
    if not root_known:
        variance += _sum_of_distances(0.0, float(leaves), t) ** 2 / (leaves * (2.0 * leaves - 1))
    return width**2 * variance


def _sum_of_distances(first: float, end: float, t: Float[ndarray, "q"]) -> Float[ndarray, "q"]:
    """Σ |i + ½ − t| for i = first, …, end − 1."""
    below = np.clip(np.ceil(t - 0.5), first, end)
    return t * (2 * below - first - end) + (first**2 + end**2) / 2 - below**2


def _levels(nodes: Float[ndarray, "*trees nodes"]) -> list[Float[ndarray, "*trees _"]]:
    depth = int(math.log2(nodes.shape[-1] + 1)) - 1
    return [nodes[..., 2**level - 1 : 2 ** (level + 1) - 1] for level in range(depth + 1)]


def _count_between(
    levels: list[Float[ndarray, "_"]],
    centers: Float[ndarray, "m"],
    start: Float[ndarray, "q"],
    end: Float[ndarray, "q"],
) -> Float[ndarray, "q"]:
    """Rows with a bin centre in [start, end), from the fewest nodes that make it up."""
    first, last = np.searchsorted(centers, start), np.searchsorted(centers, end)
    total = np.zeros(len(first))
    for level in reversed(levels):
        open_ = first < last
        at_first = open_ & (first % 2 == 1)
        total[at_first] += level[first[at_first]]
        first = first + at_first
        at_last = open_ & (last % 2 == 1) & (first < last)
        total[at_last] += level[last[at_last] - 1]
        last = last - at_last
        first, last = first // 2, last // 2
    return total
