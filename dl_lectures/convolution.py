"""Convolutions as patches and products, as fast inside a scan as outside of it on a CPU.

XLA's own convolution loses its fast kernel inside a while loop on a CPU, and so in every learner
that the trainer scans: its weight gradient was measured to take 8 to 49 times as long there. A
product keeps its speed. So the input is cut into patches, each as large as the kernel, and what is
left of the forward pass and of both gradients is one product of matrices each; an operation that
is a convolution in name is nowhere in it.

B: pictures (any number of axes), H, W: rows and columns, C: channels in, F: channels out (filters);
H', W': rows and columns of the output.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

Padding = Sequence[tuple[int, int]]  # zeros before and after the rows, and the columns


def resolve(
    padding: str | Padding, size: Sequence[int], window: Sequence[int], stride: Sequence[int]
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros before and after the rows and the columns.

    Args:
      padding: "VALID" for none, "SAME" for ceil(size / stride) outputs (the odd zero comes after),
        or the zeros themselves.
      size: H, W.
      window: rows and columns of the kernel.
      stride: rows and columns between two patches.

    Raises:
      ValueError: the padding is another word, or the kernel is larger than the padded picture.
    """
    if padding == "VALID":
        pairs = ((0, 0), (0, 0))
    elif padding == "SAME":
        missing = [
            max(0, (-(-n // s) - 1) * s + k - n)
            for n, k, s in zip(size, window, stride, strict=True)
        ]
        pairs = tuple((total // 2, total - total // 2) for total in missing)
    elif isinstance(padding, str):
        raise ValueError(f"The padding is {padding!r}; it must be VALID, SAME or pairs of numbers.")
    else:
        (top, bottom), (left, right) = padding
        pairs = ((top, bottom), (left, right))
    for n, (before, after), k in zip(size, pairs, window, strict=True):
        if n + before + after < k:
            raise ValueError(
                f"A picture of {tuple(size)}, padded by {pairs}, is smaller than the kernel of "
                f"{tuple(window)}."
            )
    return pairs


def patches(
    x: jax.Array, window: tuple[int, int], stride: tuple[int, int], padding: Padding
) -> jax.Array:
    """Cuts pictures [..., H, W, C] into patches [..., H', W', kh * kw * C].

    The numbers of a patch are in the order of a kernel [kh, kw, C]. It copies, and adds nothing.
    """
    x = jnp.pad(x, [(0, 0)] * (x.ndim - 3) + [*padding, (0, 0)])
    rows, columns = (
        (n - k) // s + 1 for n, k, s in zip(x.shape[-3:-1], window, stride, strict=True)
    )
    shifted = []
    for i in range(window[0]):
        for j in range(window[1]):
            shifted.append(
                x[
                    ...,
                    i : i + (rows - 1) * stride[0] + 1 : stride[0],
                    j : j + (columns - 1) * stride[1] + 1 : stride[1],
                    :,
                ]
            )
    return jnp.concatenate(shifted, axis=-1)


def conv(
    x: jax.Array,
    kernel: jax.Array,
    stride: int | tuple[int, int] = 1,
    padding: str | Padding = "VALID",
) -> jax.Array:
    """Correlates pictures with filters, as `jax.lax.conv_general_dilated` does for NHWC and HWIO.

    Args:
      x: [..., H, W, C].
      kernel: [kh, kw, C, F].
      stride: rows and columns between two patches.
      padding: see `resolve`.

    Returns:
      [..., H', W', F], H' = (H + padding - kh) // stride + 1, W' likewise.

    Raises:
      ValueError: the padding is none, or the kernel does not fit.
    """
    stride = (stride, stride) if isinstance(stride, int) else tuple(stride)
    window = kernel.shape[:2]
    if x.shape[-1] != kernel.shape[2]:
        raise ValueError(f"Pictures of {x.shape} and a kernel of {kernel.shape} do not fit.")
    padding = resolve(padding, x.shape[-3:-1], window, stride)
    cut = patches(x, window, stride, padding)
    return cut @ kernel.reshape(-1, kernel.shape[-1])
