"""What the parser says, as sentences about the keys that a user wrote.

The parser tells of all its attempts, as a tree of lines; `PARSER` lists the leaves that occur in it.
"""

from lit_nas.cli.parser_sentences import (
    ambiguous,
    no_class_path,
    no_class_yet,
    no_mapping,
    no_package,
    required,
    unknown_class,
    unknown_in_group,
    unknown_option,
    unrecognized,
    wrong_class,
    wrong_length,
    wrong_value,
)
from lit_nas.cli.pattern import Pattern, translate

__all__ = ("PARSER", "translate_parser")


def translate_parser(message: str) -> str:
    """The sentence for a message of the parser.

    Args:
        message: Of several lines.
    """
    return translate(PARSER, message, {}) or _cleaned(message)


PARSER = (
    Pattern(r"Option '([\w.+-]+)' is not accepted", unknown_option, "Option 'lrr' is not accepted"),
    Pattern(
        r"(?:Subcommand|Group) '(?:fit|validate|test|predict)' does not accept option '([\w.+-]+)'",
        unknown_option,
        "Subcommand 'fit' does not accept option 'modle.class_path'",
    ),
    Pattern(
        r"Group '([\w.]+)' does not accept option '([\w.+-]+)'",
        unknown_in_group,
        "Group 'trainer' does not accept option 'foo'",
    ),
    Pattern(r"unrecognized arguments: (\S+)", unrecognized, "unrecognized arguments: --trainer.foo 3"),
    Pattern(
        r"the following arguments are required: ([^.\n]+(?:\.\w+[^.\n]*)*)",
        required,
        "the following arguments are required: fit.data, fit.model",
    ),
    Pattern(
        r"Multiple subclasses with name (\w+)\. Give the full class path to avoid ambiguity: ([\w., ]+\w)",
        ambiguous,
        "Multiple subclasses with name Foo. Give the full class path to avoid ambiguity: a.Foo, b.Foo.",
    ),
    Pattern(
        r"Expected an instantiatable class, but [\w.]+ is abstract",
        no_class_yet,
        "Expected an instantiatable class, but lit_nas.derivation.Deriver is abstract",
    ),
    Pattern(
        r"given class_path '(?P<name>[\w.]+)':\s+Requirement '(?P<package>[^']+)' not met",
        no_package,
        "Problem with given class_path 'pytorch_lightning.loggers.CometLogger':\n  Requirement 'comet-ml>=3' not met.",
    ),
    Pattern(
        r"""(?:Parser key "(?P<own>[\w.]+)":\s+)?Unable to load config '(?P<given>.*)'""",
        no_mapping,
        "Parser key \"trainer\":\n  Unable to load config '5'",
    ),
    Pattern(
        r"Expected a dot import path string: (?P<name>.+)",
        unknown_class,
        "Expected a dot import path string: Softmax",
    ),
    Pattern(
        r"Unexpected import path format: (?P<name>.+)",
        no_class_path,
        'Parser key "model.optim.perturbation.epsilon":\n  Unexpected import path format: 0.3',
    ),
    Pattern(
        r"given class_path '(?P<name>[\w.]+)':\s+(?P<reason>module '.*' has no attribute '.*'|No module named '.*')",
        unknown_class,
        "Problem with given class_path 'foo.bar.Baz':\n  No module named 'foo'",
    ),
    Pattern(
        r"(?P<reason>module '.*' has no attribute '\w+'|No module named '[\w.]+')",
        unknown_class,
        "expects a function or a callable class: module 'torch.optim' has no attribute 'Foo'. Got value: Foo",
    ),
    Pattern(
        r"Import path (?P<name>[\w.]+) does not correspond to a subclass of",
        wrong_class,
        "Import path torch.nn.Linear does not correspond to a subclass of SearchSpace",
    ),
    Pattern(
        r"Expected '(?P<name>[\w.]+)' to be a subclass of",
        wrong_class,
        "Expected 'torch.nn.Linear' to be a subclass of <class 'Optimizer'>.",
    ),
    Pattern(
        r"Not a valid subclass of \w+",
        wrong_class,
        "Not a valid subclass of SearchSpace. Got value: [1, 2]",
    ),
    Pattern(
        r"Expected a tuple with (\d+) elements",
        wrong_length,
        "Expected a tuple with 2 elements. Got value: [0.5]",
    ),
    Pattern(
        r"Expected an? (?:<class '|typing\.Literal)",
        wrong_value,
        "Parser key \"trainer.max_epochs\":\n  Expected a <class 'int'>\n  Given value: abc",
    ),
)
"""Leaves of what the parser says, in the order in which they are looked for."""

_OF_THE_PARSER = (
    "Does not validate against any of the Union subtypes",
    "Subtypes:",
    "Errors:",
    "Expected a <class 'NoneType'>",
    "Expected a path but",
    "Given value",
)


def _cleaned(message: str) -> str:
    """A message that no pattern knows, without what the parser says of its own workings."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    return " ".join(line for line in lines if line and not line.startswith(_OF_THE_PARSER))
