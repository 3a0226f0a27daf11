"""Convolutions and their adjoints, as fast inside a scan as outside of it on a CPU.

XLA's own convolution loses its fast kernel inside a while loop on a CPU, and so in every learner
that the trainer scans, unless its axes already lie as that kernel wants them, pictures first and
channels last: only outside of loops does XLA turn them. The weight gradient that autodiff writes
does not lie so, and was measured to take 8 to 49 times as long in a loop. Of a kernel for each
seed XLA makes a grouped convolution, which is as slow. So a convolution, its transpose and the
gradient of its kernel are written here in the forms that were fast: products of matrices and, of
one kernel, convolutions that lie right. The three are the three gradients of one trilinear form,

    sum of conv(x, kernel) y = sum of x conv_transpose(y, kernel) = sum of kernel G(x, y),

so that each is differentiated by means of the other two, as often as one likes.

B: pictures (any number of axes), H, W: rows and columns, C: channels in, F: channels out (filters);
H', W': rows and columns of the output, kh, kw: of the kernel, sh, sw: of the stride.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

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
      x: [..., H, W, C]. One picture [H, W, C] is meant for networks that are vmapped over their
        examples: it is cut into patches and differentiated by autodiff, which makes one product of
        the kernel's gradient over all of them.
      kernel: [kh, kw, C, F].
      stride: rows and columns between two patches.
      padding: see `resolve`.

    Returns:
      [..., H', W', F], H' = (H + padding - kh) // stride + 1, W' likewise.

    Raises:
      ValueError: the padding is none, or the kernel does not fit.
    """
    stride = _pair(stride)
    window, size = kernel.shape[:2], x.shape[-3:-1]
    if x.shape[-1] != kernel.shape[2]:
        raise ValueError(f"Pictures of {x.shape} and a kernel of {kernel.shape} do not fit.")
    form = _Form(size, window, stride, resolve(padding, size, window, stride))
    if x.ndim == 3:
        return _conv_by_patches(x, kernel, form)
    out = _conv(x.reshape(-1, *x.shape[-3:]), kernel, form)
    return out.reshape(*x.shape[:-3], *out.shape[1:])


def conv_transpose(
    y: jax.Array,
    kernel: jax.Array,
    stride: int | tuple[int, int] = 1,
    padding: str | Padding = "VALID",
) -> jax.Array:
    """The adjoint of `conv` of the same kernel, stride and padding: from few pixels to many.

    <conv(x), y> = <x, conv_transpose(y)> for pictures x of the size that is returned. It is what
    `jax.lax.conv_transpose(..., transpose_kernel=True)` and PyTorch's ConvTranspose2d are: each
    number of y is the weight with which its filter is laid over the picture. With "SAME" it equals
    lax's; "VALID" differs from lax's only where the stride exceeds the kernel, by the zeros after.

    Args:
      y: [..., H', W', F].
      kernel: [kh, kw, C, F], as of `conv`: C channels come out.
      stride: rows and columns between two patches.
      padding: that of `conv`, so it is cut off here.

    Returns:
      [..., H, W, C], the smallest pictures that `conv` maps onto those of y: H = H' stride with
      "SAME", else (H' - 1) stride + kh - padding, W likewise.

    Raises:
      ValueError: the padding is none, nothing is left of the picture, or the kernel does not fit.
    """
    stride = _pair(stride)
    window = kernel.shape[:2]
    if y.shape[-1] != kernel.shape[3]:
        raise ValueError(f"Pictures of {y.shape} and a kernel of {kernel.shape} do not fit.")
    outputs = y.shape[-3:-1]
    if padding == "SAME":
        size = tuple(n * s for n, s in zip(outputs, stride, strict=True))
    else:
        cut_off = (0, 0) if isinstance(padding, str) else tuple(map(sum, padding))
        sides = zip(outputs, window, stride, cut_off, strict=True)
        size = tuple((n - 1) * s + k - cut for n, k, s, cut in sides)
    if min(size) < 1:
        raise ValueError(f"Nothing is left of pictures of {y.shape} with the padding {padding}.")
    form = _Form(size, window, stride, resolve(padding, size, window, stride))
    out = _conv_transpose(y.reshape(-1, *y.shape[-3:]), kernel, form)
    return out.reshape(*y.shape[:-3], *out.shape[1:])


class _Form(NamedTuple):
    """All that is known of a convolution before its numbers are; a pair for rows and columns."""

    size: tuple[int, int]  # H, W
    window: tuple[int, int]  # kh, kw
    stride: tuple[int, int]  # sh, sw
    padding: tuple[tuple[int, int], tuple[int, int]]

    @property
    def outputs(self) -> tuple[int, int]:
        """H', W'."""
        sides = zip(self.size, self.window, self.stride, self.padding, strict=True)
        rows, columns = ((n + sum(pads) - k) // s + 1 for n, k, s, pads in sides)
        return rows, columns

    @property
    def blocks(self) -> tuple[int, int]:
        """How many blocks of sh x sw pixels the kernel extends over: m, n."""
        rows, columns = (-(-k // s) for k, s in zip(self.window, self.stride, strict=True))
        return rows, columns

    @property
    def shifts(self) -> list[tuple[int, int]]:
        """Where in the kernel each of its blocks lies, in blocks."""
        return [(i, j) for i in range(self.blocks[0]) for j in range(self.blocks[1])]

    @property
    def picture_blocks(self) -> tuple[int, int]:
        """How many blocks of the padded picture are seen: H' + m - 1, W' + n - 1."""
        rows, columns = (n + m - 1 for n, m in zip(self.outputs, self.blocks, strict=True))
        return rows, columns

    def margins(self, sign: int) -> list[tuple[int, int, int]]:
        """For `lax.pad`: to the blocks that are seen, or with the sign -1 back from them.

        Pixels that no patch reaches are cut off.
        """
        sides = zip(self.picture_blocks, self.stride, self.size, self.padding, strict=True)
        found = [(before, m * s - n - before) for m, s, n, (before, _) in sides]
        return [(0, 0, 0), *((sign * a, sign * b, 0) for a, b in found), (0, 0, 0)]


def _pair(stride: int | tuple[int, int]) -> tuple[int, int]:
    return (stride, stride) if isinstance(stride, int) else tuple(stride)


# The trilinear form's gradients. Pictures x [B, H, W, C], y [B, H', W', F].


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv(x: jax.Array, kernel: jax.Array, form: _Form) -> jax.Array:
    return _of_one_kernel(_conv_by_xla, _conv_by_products, form)(x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _conv_transpose(y: jax.Array, kernel: jax.Array, form: _Form) -> jax.Array:
    return _fold(y, kernel, form)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _kernel_gradient(x: jax.Array, y: jax.Array, form: _Form) -> jax.Array:
    return _of_one_kernel(_kernel_gradient_by_xla, _kernel_gradient_by_products, form)(x, y)


_conv.defvjp(
    lambda x, kernel, form: (_conv(x, kernel, form), (x, kernel)),
    lambda form, saved, g: (
        _conv_transpose(g, saved[1], form),
        _kernel_gradient(saved[0], g, form),
    ),
)
_conv_transpose.defvjp(
    lambda y, kernel, form: (_conv_transpose(y, kernel, form), (y, kernel)),
    lambda form, saved, g: (_conv(g, saved[1], form), _kernel_gradient(g, saved[0], form)),
)
_kernel_gradient.defvjp(
    lambda x, y, form: (_kernel_gradient(x, y, form), (x, y)),
    lambda form, saved, g: (_conv_transpose(saved[1], g, form), _conv(saved[0], g, form)),
)


def _of_one_kernel(
    alone: Callable[..., jax.Array], together: Callable[..., jax.Array], form: _Form
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """A function of two arrays that is `alone`, and `together` where it is vmapped over seeds."""

    @custom_vmap
    def run(a: jax.Array, b: jax.Array) -> jax.Array:
        return alone(a, b, form)

    @run.def_vmap
    def _(axis_size: int, in_batched: list[bool], a: jax.Array, b: jax.Array):
        if axis_size == 1:
            first = (v[0] if batched else v for v, batched in zip((a, b), in_batched, strict=True))
            return run(*first)[None], True
        in_axes = tuple(0 if batched else None for batched in in_batched)
        return jax.vmap(lambda a, b: together(a, b, form), in_axes)(a, b), True

    return run


# By XLA's convolution: pictures first, channels last, nothing reversed, or it is slow in a loop.


def _conv_by_xla(x: jax.Array, kernel: jax.Array, form: _Form) -> jax.Array:
    if _patches_are_small(kernel.shape, kernel.shape[3]):
        return _conv_by_patches(x, kernel, form)
    return lax.conv_general_dilated(
        x, kernel, form.stride, form.padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _kernel_gradient_by_xla(x: jax.Array, y: jax.Array, form: _Form) -> jax.Array:
    shape = (*form.window, x.shape[-1], y.shape[-1])
    if _patches_are_small(shape, shape[3]):
        return _kernel_gradient_by_patches(x, y, form)
    # The pictures are the channels of this convolution, and the channels its pictures.
    out = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),
        y.transpose(1, 2, 0, 3),
        (1, 1),
        form.padding,
        rhs_dilation=form.stride,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )
    return out[:, : shape[0], : shape[1]].transpose(1, 2, 0, 3)


# By products. A stride of s x s makes blocks of as many pixels of the picture. Seen as the channels
# of one pixel, they leave a convolution of stride 1, its kernel m x n: one product for all its
# weights, and a sum of what comes out, shifted.


def _patches_are_small(kernel_shape: Sequence[int], others: int) -> bool:
    """Whether a patch has no more numbers than the other way makes in its place."""
    kh, kw, num_channels, _ = kernel_shape
    return kh * kw * num_channels <= others


def _conv_by_patches(x: jax.Array, kernel: jax.Array, form: _Form) -> jax.Array:
    cut = patches(x, form.window, form.stride, form.padding)
    return cut @ kernel.reshape(-1, kernel.shape[-1])


def _kernel_gradient_by_patches(x: jax.Array, y: jax.Array, form: _Form) -> jax.Array:
    cut = patches(x, form.window, form.stride, form.padding)
    return _contract(cut, y).reshape(*form.window, x.shape[-1], y.shape[-1])


def _conv_by_products(x: jax.Array, kernel: jax.Array, form: _Form) -> jax.Array:
    num_filters = kernel.shape[3]
    if _patches_are_small(kernel.shape, len(form.shifts) * num_filters):
        return _conv_by_patches(x, kernel, form)
    weights = _kernel_to_blocks(kernel, form)  # [m n, sh sw C, F]
    weights = weights.transpose(1, 0, 2).reshape(weights.shape[1], -1)
    out = _space_to_depth(x, form) @ weights  # [B, H' + m - 1, W' + n - 1, m n F]
    rows, columns = form.outputs
    shifted = [
        out[:, i : i + rows, j : j + columns, k * num_filters : (k + 1) * num_filters]
        for k, (i, j) in enumerate(form.shifts)
    ]
    return sum(shifted[1:], shifted[0])


def _kernel_gradient_by_products(x: jax.Array, y: jax.Array, form: _Form) -> jax.Array:
    num_filters = y.shape[3]
    shape = (*form.window, x.shape[-1], num_filters)
    if _patches_are_small(shape, len(form.shifts) * num_filters):
        return _kernel_gradient_by_patches(x, y, form)
    shifted = jnp.concatenate([_shift(y, i, j, form) for i, j in form.shifts], axis=-1)
    out = _contract(_space_to_depth(x, form), shifted)  # [sh sw C, m n F]
    out = out.reshape(out.shape[0], len(form.shifts), num_filters).transpose(1, 0, 2)
    return _blocks_to_kernel(out, shape, form)


def _fold(y: jax.Array, kernel: jax.Array, form: _Form) -> jax.Array:
    """Lays each number's filter over the picture; fast for one kernel, too."""
    weights = _kernel_to_blocks(kernel, form)  # [m n, sh sw C, F]
    num_in_block = weights.shape[1]
    out = lax.dot_general(y, weights.reshape(-1, weights.shape[2]), (((3,), (1,)), ((), ())))
    shifted = [
        _shift(out[..., k * num_in_block : (k + 1) * num_in_block], i, j, form)
        for k, (i, j) in enumerate(form.shifts)
    ]
    return _depth_to_space(sum(shifted[1:], shifted[0]), form)


def _shift(y: jax.Array, i: int, j: int, form: _Form) -> jax.Array:
    """[B, H', W', ...] -> [B, H' + m - 1, W' + n - 1, ...], i rows down and j columns right."""
    m, n = form.blocks
    return jnp.pad(y, ((0, 0), (i, m - 1 - i), (j, n - 1 - j), (0, 0)))


def _space_to_depth(x: jax.Array, form: _Form) -> jax.Array:
    """[B, H, W, C] -> [B, H' + m - 1, W' + n - 1, sh sw C]."""
    (rows, columns), (sh, sw) = form.picture_blocks, form.stride
    x = lax.pad(x, jnp.zeros((), x.dtype), form.margins(1))
    x = x.reshape(-1, rows, sh, columns, sw, x.shape[-1]).transpose(0, 1, 3, 2, 4, 5)
    return x.reshape(-1, rows, columns, sh * sw * x.shape[-1])


def _depth_to_space(x: jax.Array, form: _Form) -> jax.Array:
    """The adjoint of `_space_to_depth`."""
    (rows, columns), (sh, sw) = form.picture_blocks, form.stride
    x = x.reshape(-1, rows, columns, sh, sw, x.shape[-1] // (sh * sw)).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, rows * sh, columns * sw, x.shape[-1])
    return lax.pad(x, jnp.zeros((), x.dtype), form.margins(-1))


def _kernel_to_blocks(kernel: jax.Array, form: _Form) -> jax.Array:
    """[kh, kw, C, F] -> [m n, sh sw C, F], with zeros where the blocks exceed the kernel."""
    (m, n), (sh, sw), (kh, kw) = form.blocks, form.stride, form.window
    num_channels, num_filters = kernel.shape[2:]
    kernel = jnp.pad(kernel, ((0, m * sh - kh), (0, n * sw - kw), (0, 0), (0, 0)))
    kernel = kernel.reshape(m, sh, n, sw, num_channels, num_filters).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(m * n, sh * sw * num_channels, num_filters)


def _blocks_to_kernel(blocks: jax.Array, shape: Sequence[int], form: _Form) -> jax.Array:
    """The adjoint of `_kernel_to_blocks`."""
    (m, n), (sh, sw) = form.blocks, form.stride
    kernel = blocks.reshape(m, n, sh, sw, *shape[2:]).transpose(0, 2, 1, 3, 4, 5)
    return kernel.reshape(m * sh, n * sw, *shape[2:])[: shape[0], : shape[1]]


def _contract(x: jax.Array, y: jax.Array) -> jax.Array:
    """[..., D], [..., E] -> [D, E]: the product over all other axes."""
    axes = tuple(range(x.ndim - 1))
    return lax.dot_general(x, y, ((axes, axes), ((), ())))
