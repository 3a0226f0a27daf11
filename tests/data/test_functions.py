import numpy as np
import pytest

from dl_lectures.data import functions


def fourier_integral(fn, k, which):
    """The coefficient of cos or sin(pi k x) on [-1, 1], by the midpoint rule."""
    xs = (2 * np.arange(200_000) + 1) / 200_000 - 1
    return 2 * np.mean(fn(xs) * which(np.pi * k * xs))


@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_coefficients_are_those_of_the_docstrings(k):
    odd = k % 2
    sine, cosine = (fourier_integral(functions.jumps, k, f) for f in (np.sin, np.cos))
    assert sine == pytest.approx(odd * 4 / np.pi / k, abs=1e-8)
    assert cosine == pytest.approx(0.0, abs=1e-8)
    cosine = fourier_integral(functions.kinked, k, np.cos)
    assert cosine == pytest.approx(-odd * 4 / (np.pi * k) ** 2, abs=1e-8)


def test_smooth_has_bessel_coefficients():
    special = pytest.importorskip("scipy.special")
    for k in range(1, 5):
        size = np.hypot(*(fourier_integral(functions.smooth, k, f) for f in (np.sin, np.cos)))
        assert size == pytest.approx(2 * special.iv(k, 1.0), abs=1e-10)


@pytest.mark.parametrize("name", functions.FUNCTIONS)
def test_periodic_functions_are_those_whose_ends_meet(name):
    function = functions.FUNCTIONS[name]
    gap = float(function.fn(np.array(1.0)) - function.fn(np.array(-1.0)))
    assert function.is_periodic == (abs(gap) < 1e-9)


def test_points_do_not_meet_and_avoid_the_jumps():
    train, test = (functions.sample(["kinked", "jumps"], n).xs for n in (64, 256))
    np.testing.assert_allclose(train[[0, -1]], [-1 + 1 / 64, 1 - 1 / 64])
    assert np.abs(train[:, None] - test[None]).min() > 1e-3
    assert np.abs(train).min() > 0.01
    samples = functions.sample(["kinked", "jumps"], 64)
    np.testing.assert_array_equal(samples.ys, [np.abs(train), np.sign(train)])


def test_unknown_functions_are_named():
    with pytest.raises(ValueError, match="no function 'kink'; there are smooth, kinked"):
        functions.sample(["kinked", "kink"], 8)
