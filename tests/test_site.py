"""The site: pages that are made of what is in the repository, and links that lead to pages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

import lit_nas.methods

ROOT = Path(__file__).parent.parent
SITE = ROOT / "docs" / "site"


@pytest.fixture(scope="module")
def made():
    """The modules beside mkdocs.yml that need nothing of mkdocs."""
    sys.path.insert(0, str(SITE))
    try:
        import method_pages
        import repository

        yield method_pages, repository
    finally:
        sys.path.remove(str(SITE))


def test_every_method_has_a_page_with_all_its_parts(made):
    pages = {method.name: method for method in made[0].methods()}
    assert pages.keys() == set(lit_nas.methods.__all__)
    for name, method in pages.items():
        text = method.markdown()
        sections = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert sections == [
            "Paper, and what differs from it", "Configurations", "Parts, cost, and what was measured here", "Arguments"
        ], name  # fmt: skip
        assert "=" in method.formula or "follow" in method.formula, name
        assert re.search(r"https://(arxiv|doi|openreview)", text), name
        assert f"::: lit_nas.methods.{Path(method.file).stem}.{name}" in text


def test_a_page_names_each_configuration_of_its_method(made):
    named = {file for method in made[0].methods() for file in method.configurations()}
    for path in (ROOT / "configs" / "search").glob("*.yaml"):
        assert str(path.relative_to(ROOT)) in named, path.name
    for method in made[0].methods():
        assert yaml.safe_load((ROOT / method.configurations()[0]).read_text())["model"]["class_path"] == method.name


def test_a_page_has_the_rows_of_its_method_alone(made):
    pages = {method.name: method.markdown() for method in made[0].methods()}
    text = (ROOT / "docs" / "nas_bench_201.md").read_text(encoding="utf-8")
    (row,) = re.findall(r"^\| GDAS \| \d.*$", text, re.MULTILINE)
    assert row in pages["GDAS"]
    assert [name for name, page in pages.items() if row in page] == ["GDAS"]
    assert "| DARTS, second order |" in pages["DARTS"]
    assert "| PC-DARTS, K = 4 |" in pages["PCDARTS"]


def test_a_method_without_a_formula_is_refused(made, tmp_path, monkeypatch):
    folder = tmp_path / "lit_nas" / "methods"
    folder.mkdir(parents=True)
    (folder / "mine.py").write_text('"""Mine.\n\nPaper: none.\n"""\n\n\nclass Mine:\n    """Does it."""\n')
    monkeypatch.setattr(made[0], "ROOT", tmp_path)
    with pytest.raises(ValueError, match=r"mine.py' says no formula: write a paragraph `Formula:`"):
        made[0].methods()


@pytest.mark.parametrize(
    ("link", "page"),
    [
        ("docs/data.md", "data.md"),
        ("docs/examples/own_parts", "source/docs/examples/own_parts.md"),
        ("CHANGELOG.md", "changelog.md"),
        ("lit_nas/methods/gdas.py", "methods/gdas.md"),
        ("lit_nas/relaxations", "reference/relaxations.md"),
        ("lit_nas/methods", "reference/methods.md"),
        ("notebooks/first_search.ipynb", "notebooks/first_search.md"),
        ("configs/search/darts.yaml", "source/configs/search/darts.yaml.md"),
    ],
)
def test_where_files_of_the_repository_stand(made, link, page):
    assert made[1].place(link) == page


def test_links_are_led_to_pages_and_code_is_left_alone(made):
    text = "[a](../lit_nas/methods/gdas.py), [b](data.md#splits), [c](https://x.org), `[d](../README.md)`\n"
    text += "```sh\n[e](../README.md)\n```\n"
    relinked = made[1].relinked(text, "docs/python.md", "howto/x.md")
    assert relinked.startswith(
        "[a](../methods/gdas.md), [b](../data.md#splits), [c](https://x.org), `[d](../README.md)`"
    )
    assert "[e](../README.md)" in relinked
    with pytest.raises(ValueError, match=r"links to 'docs/nothing.md', which does not exist"):
        made[1].relinked("[a](nothing.md)", "docs/python.md", "python.md")


def test_packages_are_those_with_public_names(made):
    found = made[1].packages()
    assert {"methods", "spaces", "schedules", "jobs", "dags"} <= set(found)
    assert not any(name.startswith("_") or name.endswith(".py") for name in found)


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_whole(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("mkdocstrings")
    command = [
        sys.executable,
        "-m",
        "mkdocs",
        "build",
        "--strict",
        "-q",
        "-f",
        str(SITE / "mkdocs.yml"),
        "-d",
        str(tmp_path),
    ]
    run = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert run.returncode == 0, run.stderr[-2000:]
    gdas = (tmp_path / "methods" / "gdas" / "index.html").read_text(encoding="utf-8")
    assert "Dong, Yang" in gdas
    assert "constant_unselected" in gdas  # of its arguments, from the docstring
    entries = json.loads((tmp_path / "search" / "search_index.json").read_text(encoding="utf-8"))["docs"]
    assert any("GumbelSoftmax" in entry["title"] for entry in entries)
    assert not re.search(r'(src|href)="https?://(?!arxiv|doi|openreview|github)[^"]*\.(js|css|woff)', gdas)
