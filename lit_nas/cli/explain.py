"""Errors of the parser, of Lightning and of torch, raised again as sentences for users."""

from argparse import ArgumentError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from lightning_fabric.utilities.exceptions import MisconfigurationException

from lit_nas.cli.own_classes import name_own_class
from lit_nas.cli.parser_messages import translate_parser
from lit_nas.cli.trainer_messages import call_by_key, translate_trainer

__all__ = ("explain", "explained")

_SIGNS_OF_THE_PARSER = (
    "Parser key",
    "Union subtypes",
    "Problem with given class_path",
    "does not accept option",
    "Call to compute_fn",
)


@contextmanager
def explained(trainer: Mapping[str, Any] | None = None, building: bool = False) -> Iterator[None]:
    """Raises what the parser, a constructor or Lightning refuses within as a `ValueError` with one sentence.

    Errors of lit-nas itself pass as they are, and so does everything that is not about what a user wrote.

    Args:
        trainer: Values that the Trainer was given.
        building: Whether classes are built within: an error inside one that a user wrote then names that class.
    """
    try:
        yield
    except Exception as error:
        sentence = (_of_own_class(error) if building else None) or explain(error, trainer or {})
        if sentence is error:
            raise
        raise sentence from error


def explain(error: Exception, trainer: Mapping[str, Any]) -> Exception:
    """The exception to show: the sentence of lit-nas within an error, or one made of the error's message.

    Args:
        error: What was caught.
        trainer: Values that the Trainer was given.
    """
    if isinstance(error, ArgumentError) or any(sign in str(error) for sign in _SIGNS_OF_THE_PARSER):
        if (link := _sentence_of_lit_nas(_chain(error))) is not None:
            return link
        return ValueError(translate_parser(str(error)))
    if isinstance(error, MisconfigurationException):
        return ValueError(translate_trainer(str(error), trainer) or call_by_key(str(error)))
    if isinstance(error, (ValueError, TypeError, RuntimeError, ImportError)) and (
        sentence := translate_trainer(str(error), trainer)
    ):
        return ValueError(sentence)
    return error


def _sentence_of_lit_nas(chain: list[BaseException]) -> Exception | None:
    """The innermost error of lit-nas, with what its callers have added to it: the name of a file, for example."""
    found: Exception | None = None
    for link in reversed(chain):
        if isinstance(link, (ValueError, OSError)) and _is_of_lit_nas(link):
            found = link
        elif found is not None:
            break
    return found


def _of_own_class(error: Exception) -> Exception | None:
    """What arose in a class of the user, unless lit-nas has refused what it gave with a sentence of its own."""
    chain = _chain(error)
    if any(isinstance(link, (ValueError, OSError)) and _is_of_lit_nas(link) for link in chain):
        return None
    sentence = next(filter(None, map(name_own_class, reversed(chain))), None)
    return None if sentence is None else ValueError(sentence)


def _chain(error: BaseException) -> list[BaseException]:
    chain: list[BaseException] = []
    link: BaseException | None = error
    while link is not None and link not in chain:
        chain.append(link)
        whole = link.__suppress_context__ and _is_of_lit_nas(link)  # raised `from None`: it says all that there is
        link = link.__cause__ or (None if whole else link.__context__)
    return chain


def _is_of_lit_nas(error: BaseException) -> bool:
    """Whether a module of lit-nas raised it: such a message is written for users."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    return frame is not None and str(frame.tb_frame.f_globals.get("__name__")).startswith("lit_nas.")
