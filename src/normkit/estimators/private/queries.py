"""Answers from summed features, in blocks of bounded memory, on the processor or a GPU.

One vector of sums needs one cosine a frequency: a cos θ + b sin θ = r cos(θ − ψ), with r e^{iψ} = a + i b.
"""

import math

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from scipy.sparse import csr_array, csr_matrix
from torch import Tensor

from normkit.estimators.private.rows import row_blocks

__all__ = ["fourier_answers", "fourier_errors"]


def fourier_answers(
    Y: Float[ndarray, "q d"] | csr_array | csr_matrix,
    frequencies: Float[ndarray, "k D"],
    sums: Float[ndarray, "sums 2*D"],
    projection: Float[ndarray, "d k"] | None = None,
    device: str = "cpu",
) -> Float[ndarray, "q sums"]:
    """φ(y)ᵀ S_k / D for each query and each of K vectors of sums, in the dtype of Y (float32 or float64).

    A feature whose phase is beyond float64 is 0, as in the sums.
    """
    single = Y.dtype == np.float32 and np.abs(frequencies).max(initial=0.0) < np.finfo(np.float32).max
    dtype = torch.float32 if single else torch.float64
    count = frequencies.shape[1]
    W, S = (torch.as_tensor(part, dtype=dtype, device=device) for part in (frequencies, sums / count))
    P = None if projection is None else torch.as_tensor(projection, dtype=dtype, device=device)
    answers = np.empty((Y.shape[0], len(sums)), dtype=Y.dtype)
    with torch.inference_mode():
        for place, dense in row_blocks(Y, count):
            block = torch.from_numpy(np.ascontiguousarray(dense)).to(device, dtype)
            rows = block if P is None else block @ P
            answer = _answer(rows @ W, S)
            lost = ~answer.isfinite().all(dim=1)
            if lost.any():
                answer[lost] = _finite_answer(rows[lost] @ W, S)
            answers[place] = answer.cpu().numpy()
    return answers


def fourier_errors(
    Y: Float[ndarray, "q d"] | csr_array | csr_matrix,
    frequencies: Float[ndarray, "k D"],
    sums: Float[ndarray, "sums 2*D"],
    projection: Float[ndarray, "d k"] | None = None,
    device: str = "cpu",
) -> Float[ndarray, "q sums"]:
    """Standard error of each of `fourier_answers`, as the mean of D independent a_j = C_j cos θ_j + S_j sin θ_j.

    With 2 cos² = 1 + cos 2θ, the mean of a_j² is an answer too, at twice the frequencies:
    a_j² = (C_j² + S_j²)/2 + cos 2θ_j (C_j² − S_j²)/2 + sin 2θ_j C_j S_j. Infinite for a single frequency.
    """
    count = frequencies.shape[1]
    if count < 2:
        return np.full((Y.shape[0], len(sums)), np.inf)
    cosine, sine = np.split(sums, 2, axis=1)
    doubled = np.concatenate(((cosine**2 - sine**2) / 2, cosine * sine), axis=1)
    level = (cosine**2 + sine**2).mean(axis=1) / 2
    squares = level + fourier_answers(Y, 2 * frequencies, doubled, projection, device)
    mean = fourier_answers(Y, frequencies, sums, projection, device)
    return np.sqrt(np.maximum(squares - mean**2, 0.0) / (count - 1))


def _answer(phase: Tensor, sums: Tensor) -> Tensor:
    cosine, sine = sums.chunk(2, dim=1)
    if len(sums) > 1:
        return torch.cos(phase) @ cosine.T + phase.sin_() @ sine.T
    shift = torch.remainder(torch.atan2(sine, cosine), 2 * math.pi)
    return phase.sub_(shift).cos_() @ torch.hypot(cosine, sine).T


def _finite_answer(phase: Tensor, sums: Tensor) -> Tensor:
    features = torch.cat((torch.cos(phase), torch.sin(phase)), dim=1)
    return features.nan_to_num(0.0) @ sums.T
