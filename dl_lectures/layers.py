"""Hidden layers as flags name them, for every kind of network."""


def sizes_of(hidden_sizes: str) -> tuple[int, ...]:
    """The units of the hidden layers that a configuration names, such as "120,84".

    Raises:
        ValueError: they are none.
    """
    sizes = [size.strip() for size in hidden_sizes.split(",")]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise ValueError(
            f"--hidden_sizes={hidden_sizes} must be whole numbers above 0 separated by commas, "
            "such as 120,84."
        )
    return tuple(int(size) for size in sizes)
