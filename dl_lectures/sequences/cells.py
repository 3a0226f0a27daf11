"""All recurrent cells by name, each as the functions that `recurrence` describes."""

from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, NamedTuple

from dl_lectures.sequences import gru, irnn, lstm, min_gru, min_lstm, rnn

CellName = Literal[
    "rnn",
    "relu",
    "irnn",
    "gru",
    "lstm",
    "lstm_no_input_gate",
    "lstm_no_forget_gate",
    "lstm_no_output_gate",
    "min_gru",
    "min_lstm",
]


class Cell(NamedTuple):
    """A recurrent cell. `recurrence` has the signatures."""

    init: Callable[..., Any]
    initial_carry: Callable[..., Any]
    cell: Callable[..., Any]
    project: Callable[..., Any]
    apply_projected: Callable[..., Any]
    apply: Callable[..., Any]


def of_module(module: ModuleType) -> Cell:
    """The functions of a cell's module."""
    return Cell(*(getattr(module, name) for name in Cell._fields))


def without_gate(gate: lstm.Gate) -> Cell:
    """An LSTM with one gate that is always open; its weights are there, but never used."""

    def opened(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda params, *args: function(lstm.open_gate(params, gate), *args)

    return Cell(
        init=lstm.init,
        initial_carry=lstm.initial_carry,
        cell=opened(lstm.cell),
        project=opened(lstm.project),
        apply_projected=opened(lstm.apply_projected),
        apply=opened(lstm.apply),
    )


CELLS: dict[str, Cell] = {
    "rnn": of_module(rnn),
    # A plain net of ReLUs: the IRNN's recurrence without its start from the identity.
    "relu": of_module(irnn)._replace(init=rnn.init),
    "irnn": of_module(irnn),
    "gru": of_module(gru),
    "lstm": of_module(lstm),
    "lstm_no_input_gate": without_gate("i"),
    "lstm_no_forget_gate": without_gate("f"),
    "lstm_no_output_gate": without_gate("o"),
    "min_gru": of_module(min_gru),
    "min_lstm": of_module(min_lstm),
}
