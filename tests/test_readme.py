"""What the README and the documentation show is what the software does."""

import re
import shlex
from pathlib import Path

import pytest

from lit_nas.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
ALL = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
SCRIPTS = sorted((ROOT / "slurm").iterdir())
CONFIGURATIONS = [*sorted((ROOT / "configs").rglob("*.yaml")), *SCRIPTS]


def commands(text: str) -> list[list[str]]:
    """The arguments of every `lit-nas` command in blocks of shell, without comments."""
    blocks = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    lines = [part for block in blocks for line in block.splitlines() for part in line.split("&&")]
    return [words[1:] for words in (shlex.split(line, comments=True) for line in lines) if words[:1] == ["lit-nas"]]


def anchors(page: Path) -> set[str]:
    """The anchors of the headings of a page, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@ALL
def test_every_link_resolves(page):
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\((?!http)([^)]+)\)", text):
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), target
        if anchor:
            assert anchor in anchors(linked), target


@pytest.mark.parametrize("page", [*PAGES, *CONFIGURATIONS, ROOT / ".ci" / "run"], ids=lambda page: page.name)
def test_every_configuration_that_is_named_exists(page):
    for config in re.findall(r"configs/[\w/]+\.(?:yaml|yml)", page.read_text(encoding="utf-8")):
        if not re.search("foo|my_method|my_space", config):  # what a reader is to add
            assert (ROOT / config).exists(), config
    for folder in re.findall(r"`(configs/[\w/]+/)`", page.read_text(encoding="utf-8")):
        assert (ROOT / folder).is_dir(), folder


def test_every_page_is_linked_from_the_readme():
    for page in PAGES[1:]:
        assert f"({page.relative_to(ROOT).as_posix()})" in README, page.name


def test_every_method_has_a_row():
    import lit_nas.methods

    for name in lit_nas.methods.__all__:
        assert re.search(rf"^\| {name}\b", README, re.MULTILINE), name


def test_every_data_layer_has_a_row():
    text = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")
    for path in (ROOT / "configs" / "layers" / "data").glob("*.yaml"):
        assert f"| `{path.relative_to(ROOT).as_posix()}` |" in text, path.name


def test_the_citation_has_the_version_of_the_package():
    import yaml

    import lit_nas

    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == lit_nas.__version__
    assert citation["license"] == "Apache-2.0"


@pytest.mark.parametrize("form", ["bug", "method", "question"])
def test_issue_forms_are_what_github_accepts(form):
    import yaml

    content = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{form}.yml").read_text(encoding="utf-8"))
    assert content["name"]
    assert content["description"]
    identifiers = [part["id"] for part in content["body"]]
    assert len(set(identifiers)) == len(identifiers)
    for part in content["body"]:
        assert part["type"] in ("input", "textarea", "checkboxes", "dropdown", "markdown")
        assert part["attributes"]["label"]


def test_the_readme_is_short():
    assert len(README.splitlines()) < 150


def shown() -> list[list[str]]:
    """Every command that a page shows once, and those in the comments of configurations."""
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    for config in CONFIGURATIONS[: -len(SCRIPTS)]:
        lines = re.findall(r"^#   (lit-nas .*)$", config.read_text(encoding="utf-8"), re.MULTILINE)
        texts.append("```sh\n" + "\n".join(lines) + "\n```")
    unique = {tuple(command): command for text in texts for command in commands(text)}
    return list(unique.values())


@pytest.mark.parametrize("command", shown(), ids=" ".join)
def test_every_command_parses(command, monkeypatch):
    """A fit is parsed with all its layers, a job is planned, other commands have their arguments looked up."""
    monkeypatch.chdir(ROOT)
    name, arguments = command[0], _without(["--import"], command[1:])  # of a package of the reader's own
    if name in ("fit", "validate", "test", "predict"):
        from lit_nas.cli.training import TrainingCLI

        missing = {word for word in arguments if word.endswith("config.yaml")}  # of a run that came before
        if missing:
            arguments = ["-c", "configs/retrain/cifar.yaml", "--data.root", "data"]
        arguments = _without(["--ckpt_path", "--model.genotype", *(["--help", "--print_config"])], arguments)
        TrainingCLI(arguments, run=False, parse_only=True)
    elif name == "run":
        assert Path(arguments[arguments.index("-c") + 1]).exists()
        assert {word for word in arguments if word.startswith("--")} <= {"--data.root", "--redo", "--folder"}
    elif name == "sweep":
        assert main([*command, "--print_config"]) == 0
    else:
        others = ("baseline", "confusion", "correlate", "derive", "describe", "draw", "latency", "match-depth", "query")
        assert name in (*others, "export", "profile", "ranks", "report", "workspace")
        if name in ("latency", "confusion", "correlate"):  # takes what a fit takes, besides
            arguments = [word for word in arguments if not word.startswith(("--data.", "--model."))]
        options = {word.partition(".")[0] for word in arguments if word.startswith("-")}
        assert options <= _options(name), options


def blocks(language: str) -> list[str]:
    """The blocks of one language in all pages."""
    return [
        block for page in PAGES for block in re.findall(rf"```{language}\n(.*?)```", page.read_text("utf-8"), re.DOTALL)
    ]


@pytest.mark.parametrize("block", blocks("yaml"))
def test_every_piece_of_yaml_parses(block, tmp_path, monkeypatch, capsys):
    """Pieces of a fit and of a job are laid over a whole configuration; jobs are those that the pages show."""
    import yaml

    from lit_nas.cli import main
    from lit_nas.cli.training import TrainingCLI

    layer = tmp_path / "layer.yaml"
    layer.write_text(block)
    if "job" not in (content := yaml.safe_load(block)):
        assert content.keys() & {"model", "trainer"}
        arguments = ["-c", str(ROOT / "configs/search/darts.yaml"), "-c", str(layer)]
        TrainingCLI(arguments, run=False, parse_only=True)
        for part in content.get("model", {}).get("init_args", {}).values():
            build_part(part)
        return
    (code,) = (code for code in blocks("python") if "(Job)" in code)
    (tmp_path / "my_jobs.py").write_text(code)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["run", "-c", str(ROOT / "configs/quickstart.yaml"), "-c", str(layer), "--print_config"]) == 0
    assert "class_path: my_jobs.Narrow" in capsys.readouterr().out
    propose_all()


def build_part(part) -> None:
    """Makes the optimiser, the space or the deriver of a piece, so that their own checks run."""
    from lit_nas.derivation import LimitedSkips
    from lit_nas.record.plain import build
    from lit_nas.search import SearchOptim
    from lit_nas.spaces import DartsSpace

    known = {"DartsSpace": DartsSpace, "LimitedSkips": LimitedSkips}
    made = build(known[part["class_path"]], part["init_args"]) if "class_path" in part else build(SearchOptim, part)
    assert made not in (SearchOptim(), DartsSpace())


def propose_all() -> None:
    """Goes through all proposals of the job that the pages show."""
    import my_jobs

    from lit_nas.jobs import Found, History, members

    job, history = my_jobs.Narrow(), History()
    while proposed := members(job.propose(history)):
        found = (Found(stage.name, Path(), {}, None, None, {}, {}, None) for stage in proposed)
        history = History((*history, *found))
    assert [found.name for found in history] == ["first", "second", "seed1", "seed2", "seed3"]


def _without(options: list[str], arguments: list[str]) -> list[str]:
    kept, words = [], iter(arguments)
    for word in words:
        if word in options:
            next(words, None)
        else:
            kept.append(word)
    return kept


def _options(name: str) -> set[str]:
    import contextlib
    import io

    from lit_nas.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit):
        main([name, "--help"])
    return set(re.findall(r"(?<![\w-])--?[a-z]\w*", printed.getvalue()))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_the_python_example_runs(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    exec(compile(re.sub(r"max_epochs=\d+", "max_epochs=1", code), "README.md", "exec"), {})
    assert "test/accuracy" in capsys.readouterr().out
