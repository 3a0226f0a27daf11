"""Probabilistic principal component analysis of Tipping and Bishop (1999).

doi:10.1111/1467-9868.00196. The linear decoder with Gaussian noise,

    z ~ N(0, I),    x | z ~ N(W z + mean, variance I),

whose marginal, x ~ N(mean, W W^T + variance I), is known, and whose maximum likelihood has a closed
form. It is what a linear variational auto-encoder must find (Lucas et al., 2019, arXiv:1911.02469).
In NumPy, float64, but for the draws.

N: observations, P: pixels, L: latent variables.
"""

from typing import NamedTuple

import jax
import numpy as np

from dl_lectures.learner import Key


class Params(NamedTuple):
    """What is learned."""

    mean: np.ndarray  # [P]
    loadings: np.ndarray  # [P, L], W; its columns are orthogonal
    variance: float  # of the noise, of each pixel


def fit(x: np.ndarray, num_latents: int) -> Params:
    """The maximum of the likelihood of x, [N, P]; equations 14 and 15 with R = I.

    W = U (Lambda - variance I)^(1/2) of the L first eigenvectors of the covariance; the noise is
    the mean of the other eigenvalues.

    Raises:
        ValueError: there is no room for noise, or none in the data.
    """
    num_rows, num_pixels = x.shape
    if not 1 <= num_latents < num_pixels:
        raise ValueError(
            f"--num_latents={num_latents} must be at least 1 and less than the {num_pixels} pixels."
        )
    mean = np.mean(x, axis=0, dtype=np.float64)
    _, singular, directions = np.linalg.svd(x - mean, full_matrices=False)  # [min(N, P)], [.., P]
    eigenvalues = np.zeros(num_pixels)
    eigenvalues[: len(singular)] = np.square(singular) / num_rows
    variance = eigenvalues[num_latents:].mean()
    if variance <= 1e-12 * eigenvalues[0]:
        raise ValueError(
            f"{num_latents} directions hold all that {num_rows} observations differ by: the "
            "likelihood has no maximum."
        )
    scales = np.sqrt(eigenvalues[:num_latents] - variance)
    return Params(mean, directions[:num_latents].T * scales, float(variance))


def log_likelihood(params: Params, x: np.ndarray) -> np.ndarray:
    """log p(x) in nats, [N], of x, [N, P]; equations 3 and 4.

    The inverse and the determinant of the covariance, P x P, come from those of
    M = W^T W + variance I, L x L.
    """
    num_pixels, num_latents = params.loadings.shape
    centred = np.asarray(x, np.float64) - params.mean
    m = params.loadings.T @ params.loadings + params.variance * np.eye(num_latents)
    projected = centred @ params.loadings  # [N, L]
    squares = np.square(centred).sum(1) - (projected * np.linalg.solve(m, projected.T).T).sum(1)
    log_determinant = np.linalg.slogdet(m)[1] + (num_pixels - num_latents) * np.log(params.variance)
    return -0.5 * (num_pixels * np.log(2 * np.pi) + log_determinant + squares / params.variance)


def sample(key: Key, params: Params, num_images: int) -> np.ndarray:
    """Draws x from the marginal, [N, P]; the key is consumed."""
    num_pixels, num_latents = params.loadings.shape
    draws = np.asarray(jax.random.normal(key, (num_images, num_latents + num_pixels)), np.float64)
    z, noise = draws[:, :num_latents], draws[:, num_latents:]
    return params.mean + z @ params.loadings.T + np.sqrt(params.variance) * noise
