"""The page of a report: what it shows equals what the files of the runs hold, and it works in a browser."""

import csv
import html
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from statistics import fmean, stdev

import pytest
import yaml

from lit_nas.cli import main
from lit_nas.genotype import load_genotype
from lit_nas.report.page.curves import curve_figures
from lit_nas.report.page.find_runs import find_runs
from lit_nas.report.page.groups import differences, group_runs
from lit_nas.report.page.run_files import read_csv

pytest.importorskip("plotly", reason="the extra 'report' is not installed")
EVIL = "</script><img src=x onerror=alert(1)>\"'&"
OPERATIONS = ("none", "skip_connect", "sep_conv_3x3")
EDGES = ((0, 2), (1, 2), (2, 3))
VOID = ("meta", "img", "input", "link", "br")


def write_csv(path: Path, header: list[str], rows: list[list]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def make_search(folder: Path, seed: int, epochs: int = 3, planned: int = 3, lr: float = 0.1, finished: bool = True):
    """A run folder as a search leaves it, with numbers that depend on the seed."""
    folder.mkdir(parents=True)
    model = {"class_path": "lit_nas.DARTS", "init_args": {"optim": {"arch": {"lr": lr}}, "note": EVIL}}
    config = {
        "seed_everything": seed,
        "trainer": {"max_epochs": planned, "default_root_dir": str(folder)},
        "model": model,
        "data": {"class_path": "lit_nas.DigitsDataModule"},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    header = ["epoch", "step", "weights/loss", "val/accuracy", "entropy/normal", "cost/seconds"]
    rows = []
    for epoch in range(epochs):
        rows.append([epoch, 10 * epoch + 9, "", 0.5 + 0.1 * epoch + 0.01 * seed, "", ""])
        rows.append([epoch, 10 * epoch + 9, 2.0 / (1 + epoch) + 0.125 * seed, "", 1.0 - 0.1 * epoch, 7.5])
    write_csv(folder / "metrics.csv", header, rows)
    alphas = [
        [epoch, cell, source, target, name, (1 + o + epoch * (seed + 1) + target) / 100]
        for epoch in range(epochs)
        for cell in ("normal", "reduce")
        for source, target in EDGES
        for o, name in enumerate(OPERATIONS)
        if (source, name) != (0, "none")  # an edge with fewer candidates
    ]
    write_csv(folder / "alphas.csv", ["epoch", "cell", "source", "target", "operation", "probability"], alphas)
    (folder / "cost.json").write_text(json.dumps({"seconds": 60.0 + seed, "device_hours": 0.25, "device": EVIL}))
    genotype = load_genotype("DARTS_V2")
    genotype.save(folder / "genotypes" / f"epoch-{epochs - 1:04d}.json")
    if finished:
        genotype.save(folder / "genotype.json")


def make_retraining(folder: Path, seed: int, accuracy: float) -> None:
    folder.mkdir(parents=True)
    init = {"genotype": str(folder.parent / f"seed_{seed}_search" / "genotype.json")}
    config = {
        "seed_everything": seed,
        "trainer": {"max_epochs": 1, "default_root_dir": str(folder)},
        "model": {"class_path": "lit_nas.RetrainModule", "init_args": init},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    write_csv(folder / "metrics.csv", ["epoch", "step", "train/loss"], [[0, 9, 0.5]])
    (folder / "test.json").write_text(json.dumps({"test/accuracy": accuracy}))


@pytest.fixture
def sweep(tmp_path):
    """Two seeds of a job, finished."""
    folder = tmp_path / "sweep"
    for seed, accuracy in ((0, 0.9), (1, 0.8)):
        make_search(folder / f"seed_{seed}_search", seed)
        make_retraining(folder / f"seed_{seed}_retrain", seed, accuracy)
    make_retraining(folder / "seed_0_retrain-1", 0, 0.1)  # an old one, which was done again
    statistics = {"test_accuracy": {"mean": 0.85, "deviation": stdev([0.9, 0.8]), "values": [0.9, 0.8]}}
    (folder / "results.json").write_text(json.dumps({"seeds": [0, 1], "statistics": statistics, "runs": {}}))
    (folder / "job.yaml").write_text(yaml.safe_dump({"class_path": "lit_nas.jobs.Sweep"}))
    return folder


class Page(HTMLParser):
    """A page that is checked while it is read: elements close in order, nothing is loaded, marks appear once."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.marks: set[str] = set()
        self.data: dict[str, object] = {}
        self.images: list[dict] = []
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self._script = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        for name in ("src", "href", "srcset", "action"):
            assert found.get(name, "#").startswith(("#", "data:")), found
        assert not any(name.startswith("on") for name in found), found
        if mark := found.get("id"):
            assert mark not in self.marks
            self.marks.add(mark)
        if tag == "img":
            self.images.append(found)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
        self._script = found["id"] if found.get("type") == "application/json" else ""
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            if self._script:
                self.data[self._script] = json.loads(data)
        elif self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data
        else:
            self.words.append(data)


def report(*folders: Path, to: Path) -> Page:
    assert main(["report", *map(str, folders), "-o", str(to)]) == 0
    return Page(to.read_text(encoding="utf-8"))


def test_plots_hold_the_numbers_of_the_files(sweep, tmp_path):
    page = report(sweep, to=tmp_path / "report.html")
    figures = {
        name: found for mark in page.data if mark.startswith("curves") for name, found in page.data[mark].items()
    }
    assert set(figures) == {"weights/loss", "val/accuracy", "entropy/normal", "train/loss"}
    for name in ("weights/loss", "val/accuracy"):
        lines = {trace["name"]: trace for trace in figures[name]["data"]}
        values = []
        for seed in (0, 1):
            rows = read_csv(sweep / f"seed_{seed}_search" / "metrics.csv")
            expected = {int(row["epoch"]): float(row[name]) for row in rows if row[name]}
            line = lines[f"seed_{seed}_search"]
            assert dict(zip(line["x"], line["y"], strict=True)) == expected
            values.append(list(expected.values()))
        mean, band = lines["seed_*_search: mean of 2"], lines["seed_*_search, ± deviation"]
        pairs = list(zip(*values, strict=True))
        assert mean["y"] == pytest.approx([fmean(pair) for pair in pairs])
        assert band["y"][:3] == pytest.approx([fmean(pair) + stdev(pair) for pair in pairs])
        assert band["y"][3:][::-1] == pytest.approx([fmean(pair) - stdev(pair) for pair in pairs])
    for seed in (0, 1):
        data = page.data[f"alphas-{seed}"]
        found = {
            (epoch, cell["name"], label, name): value
            for cell in data["cells"]
            for epoch, table in zip(data["epochs"], cell["values"], strict=True)
            for label, row in zip(cell["edges"], table, strict=True)
            for name, value in zip(cell["operations"], row, strict=True)
        }
        rows = read_csv(sweep / f"seed_{seed}_search" / "alphas.csv")
        expected = {
            (int(r["epoch"]), r["cell"], f"{r['source']} → {r['target']}", r["operation"]): float(r["probability"])
            for r in rows
        }
        assert {key: value for key, value in found.items() if value is not None} == pytest.approx(expected, abs=1e-6)
        assert found[0, "normal", "0 → 2", "none"] is None


def test_figures_are_such_as_plotly_knows(sweep):
    import plotly.graph_objects

    groups = group_runs(find_runs([sweep])[0])
    figures = [figure for figures in curve_figures(groups).values() for figure in figures.values()]
    read = [plotly.graph_objects.Figure(figure) for figure in figures]  # refuses unknown keys and values
    assert read
    assert all(len(figure.data) for figure in read)


@pytest.mark.parametrize(
    ("name", "heading"),
    [
        *(
            (name, "Losses and accuracies")
            for name in ("val/perplexity", "arch/loss_step", "train/loss", "val/accuracy")
        ),
        *((f"{name}/normal", "Architecture") for name in ("entropy", "margin", "none", "skips", "sparsity")),
        ("temperature", "Architecture"),
        ("lr/weights", "Learning rates and settings"),
    ],
)
def test_curves_stand_under_their_headings(name, heading, tmp_path):
    make_search(tmp_path / "run", 0)
    write_csv(tmp_path / "run" / "metrics.csv", ["epoch", "step", name], [[0, 9, 0.5], [1, 19, 0.25]])
    assert list(curve_figures(group_runs(find_runs([tmp_path / "run"])[0]))) == [heading]


def test_tables_tell_scores_costs_and_means(sweep, tmp_path):
    page = report(sweep, to=tmp_path / "report.html")
    rows = {row[0]: row for row in page.rows}
    assert rows["seed_0_search"][1:6] == ["search", "DARTS", "Digits", "0", "3 of 3"]
    assert {"0.7000", "60", "0.250"} <= set(rows["seed_0_search"])
    assert "0.9000" in rows["seed_0_retrain"]
    assert "0.8500 ± 0.0707" in rows["seed_*_retrain"]
    assert "60 ± 1" in rows["seed_*_search"]
    assert rows["test_accuracy"] == ["test_accuracy", "0.85", "0.0707107"]
    assert not any("retrain-1" in row[0] for row in page.rows)


def test_pictures_of_cells_are_within_the_page(sweep, tmp_path):
    page = report(sweep, to=tmp_path / "report.html")
    assert len(page.images) == 2
    for image in page.images:
        assert image["src"].startswith("data:image/svg+xml;base64,")
        assert "normal: sep_conv_3x3 from 0 to 2" in image["alt"]


def test_text_of_files_stays_text(sweep, tmp_path):
    (sweep / "seed_0_search" / "cost.json").write_text('{"broken": ')
    page = report(sweep, to=tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert EVIL not in text
    assert text.count("<img ") == 2
    assert html.escape(EVIL) in text
    assert any("cost.json cannot be read" in word for word in page.words)


def test_configurations_and_their_differences(tmp_path):
    make_search(tmp_path / "a", 0)
    make_search(tmp_path / "b", 3, lr=0.2)
    page = report(tmp_path / "a", tmp_path / "b", to=tmp_path / "report.html")
    rows = {row[0]: row[1:] for row in page.rows}
    assert rows["model.init_args.optim.arch.lr"] == ["0.1", "0.2"]
    assert rows["seed_everything"] == ["0", "3"]
    assert "trainer.default_root_dir" not in rows
    assert "trainer.max_epochs" not in rows
    runs, _ = find_runs([tmp_path / "a", tmp_path / "b"])
    assert len(group_runs(runs)) == 2  # they differ in more than their seeds
    assert set(differences(runs)) == {"model.init_args.optim.arch.lr", "seed_everything"}


def test_a_run_that_goes_on_is_shown_as_far_as_it_is(tmp_path):
    folder = tmp_path / "run"
    make_search(folder, 1, epochs=2, planned=50, finished=False)
    for name in ("metrics.csv", "alphas.csv"):  # a line is being written
        with (folder / name).open("a") as file:
            file.write("2,29,0.0")
    page = report(folder, to=tmp_path / "report.html")
    rows = {row[0]: row for row in page.rows}
    assert "2 of 50, unfinished" in rows["run"]
    assert page.data["alphas-0"]["epochs"] == [0, 1]
    assert page.data["curves-0"]["weights/loss"]["data"][0]["x"] == [0, 1]
    assert len(page.images) == 1
    assert "The cells so far" in page.words


def test_a_job_that_goes_on(sweep, tmp_path):
    (sweep / "results.json").unlink()
    (sweep / "seed_1_retrain" / "test.json").unlink()
    (sweep / "drawn.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    page = report(sweep, to=tmp_path / "report.html")
    assert any("there is no results.json yet" in word for word in page.words)
    assert any("Sweep in " in word for word in page.words)
    assert "0.9000" in {row[0]: row for row in page.rows}["seed_*_retrain"]  # of the one that has been tested
    assert [image["alt"] for image in page.images][-1] == "drawn.svg"


def test_other_columns_and_values_are_left_out(tmp_path):
    make_search(tmp_path / "run", 0)
    (tmp_path / "run" / "cost.json").write_text('{"seconds": "many"}')
    (tmp_path / "run" / "alphas.csv").write_text("epoch,probability\n0,0.5\n")
    (tmp_path / "run" / "config.yaml").write_text("- a list\n")
    page = report(tmp_path / "run", to=tmp_path / "report.html")
    assert not any(mark.startswith("alphas") for mark in page.data)
    assert any("config.yaml holds no mapping" in word for word in page.words)


def test_what_is_not_finite_or_no_number_breaks_no_page(tmp_path):
    for seed, score in ((1, float("inf")), (2, 0.5)):  # one of them has diverged
        folder = tmp_path / f"seed_{seed}"
        make_search(folder, seed)
        (folder / "test.json").write_text(json.dumps({"test/rmse": score}))
        (folder / "table.csv").write_text(
            f"epoch,dataset,test_accuracy\n0,cifar10,nan\n1,cifar10,?\n2,cifar10,9{seed}\n"
        )
    groups = group_runs(find_runs([tmp_path / "seed_1", tmp_path / "seed_2"])[0])
    assert len(groups) == 1
    (first, *_) = curve_figures(groups)["Architecture"]["table/cifar10"]["data"]
    assert (first["x"], first["y"]) == ([2], [0.91])
    page = report(tmp_path / "seed_1", tmp_path / "seed_2", to=tmp_path / "report.html")
    assert any("inf" in row for row in page.rows)


def test_a_run_that_has_just_begun(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yaml").write_text("trainer: {max_epochs: 5}\nmodel: {class_path: lit_nas.DARTS}\n")
    page = report(tmp_path / "run", to=tmp_path / "report.html")
    assert "0 of 5, unfinished" in {row[0]: row for row in page.rows}["run"]
    (tmp_path / "run" / "metrics.csv").write_text("epoch,st")
    (tmp_path / "run" / "alphas.csv").write_text("")
    report(tmp_path / "run", to=tmp_path / "report.html")


def test_cells_of_one_edge_share_a_table_and_edge_weights_have_one(tmp_path):
    make_search(tmp_path / "run", 0, epochs=1)
    header = ["epoch", "cell", "source", "target", "operation", "probability"]
    write_csv(tmp_path / "run" / "alphas.csv", header, [[0, f"row_{n}", 0, 1, f"dag{n}", 0.5] for n in (1, 2)])
    write_csv(tmp_path / "run" / "edge_weights.csv", ["epoch", "cell", "source", "target", "weight"],
              [[0, "normal", 0, 2, 0.25], [0, "normal", 1, 2, 0.75]])  # fmt: skip
    together, edges = report(tmp_path / "run", to=tmp_path / "report.html").data["alphas-0"]["cells"]
    assert together["edges"] == ["row_1", "row_2"]
    assert together["values"] == [[[0.5, None], [None, 0.5]]]
    assert edges["edges"] == ["normal, node 2"]
    assert dict(zip(edges["operations"], edges["values"][0][0], strict=True)) == {"from 0": 0.25, "from 1": 0.75}


def test_wrong_folders_and_files_are_told_in_a_sentence(tmp_path, capsys):
    make_search(tmp_path / "run", 0)
    (tmp_path / "empty").mkdir()
    (tmp_path / "other" / "inner").mkdir(parents=True)
    run = str(tmp_path / "run")
    cases = (
        ([str(tmp_path / "none")], "There is no folder '"),
        ([str(tmp_path / "empty")], "empty' is empty: a run has files such as"),
        ([str(tmp_path / "other")], "other' holds no run: a run has files such as"),
        ([str(tmp_path / "run" / "alphas.csv")], "alphas.csv' is a file: give the folder of a run"),
        ([run, "-o", str(tmp_path)], "is a folder: name a file, '"),
        ([run, "-o", str(tmp_path / "page.pdf")], "A report is a page and ends in .html"),
    )
    for arguments, message in cases:
        assert main(["report", *arguments]) == 2
        told = capsys.readouterr().err
        assert message in told
        assert len(told.splitlines()) == 2  # the sentence, and how to see more


def test_missing_plotly_is_named(tmp_path, monkeypatch, capsys):
    make_search(tmp_path / "run", 0)
    monkeypatch.setattr("lit_nas.report.page.page.find_spec", lambda name: None)
    assert main(["report", str(tmp_path / "run"), "-o", str(tmp_path / "report.html")]) == 2
    assert "pip install 'lit-nas[report]'" in capsys.readouterr().err


PROBE_FIRST = """
<script>
window.wrong = [];
window.addEventListener("error", (event) => window.wrong.push(String(event.message)), true);
document.addEventListener("securitypolicyviolation", (event) => window.wrong.push(event.blockedURI));
</script>
"""
PROBE_LAST = """
<script>
window.addEventListener("load", () => setTimeout(() => {
  const plots = [...document.querySelectorAll(".plot")];
  const drawn = () => plots.filter((plot) => plot.querySelector(".main-svg")).length;
  const before = drawn();
  document.querySelectorAll("details").forEach((part) => (part.open = true));
  setTimeout(() => {
    const heat = document.querySelector(".heat");
    const z = [JSON.stringify(heat.data[0].z)];
    const slider = document.querySelector("input.epoch");
    slider.value = 0;
    slider.dispatchEvent(new Event("input"));
    z.push(JSON.stringify(heat.data[0].z));
    const select = document.querySelector("select.edge");
    select.value = "1,2";
    select.dispatchEvent(new Event("change"));
    const pre = document.createElement("pre");
    pre.id = "probe";
    pre.textContent = JSON.stringify({
      plots: plots.length, before, after: drawn(), z,
      title: document.querySelector(".trajectory").layout.title.text,
      epoch: document.querySelector("output").value,
      lines: document.querySelector(".figure").querySelectorAll(".scatterlayer .trace").length,
      page: document.documentElement.scrollWidth, window: window.innerWidth, wrong: window.wrong,
    });
    document.body.append(pre);
    if (parent !== window) parent.postMessage(pre.textContent, "*");
  }, 1000);
}, 500));
</script>
"""


# in a frame, because a window has a least width
FRAME = """<!DOCTYPE html>
<iframe src="report.html" style="width: WIDTHpx; height: 900px; border: 0"></iframe>
<script>
window.addEventListener("message", (event) => {
  const pre = document.createElement("pre");
  pre.id = "probe";
  pre.textContent = event.data;
  document.body.append(pre);
});
</script>
"""


def probe(browser: str, page: Path) -> dict:
    """What the script in the page has found, with a browser that reaches no network."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--window-size=1600,1000"]
    options += ["--host-resolver-rules=MAP * ~NOTFOUND", f"--user-data-dir={page.parent / 'browser'}", "--dump-dom"]
    answer = subprocess.run(
        [browser, *options, page.as_uri()], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    (found,) = re.findall(r'<pre id="probe">(.*?)</pre>', answer, re.DOTALL)
    return json.loads(html.unescape(found))


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_works_in_a_browser(sweep, tmp_path, width):
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("there is no chromium on this machine")
    path = tmp_path / "report.html"
    report(sweep, to=path)
    page = path.read_text(encoding="utf-8")
    page = page.replace("<style>", f"{PROBE_FIRST}<style>", 1).replace("</body>", f"{PROBE_LAST}</body>")
    path.write_text(page, encoding="utf-8")
    frame = tmp_path / "frame.html"
    frame.write_text(FRAME.replace("WIDTH", str(width)))
    found = probe(browser, frame)
    assert found["wrong"] == []
    assert found["after"] == found["plots"] == 10  # 4 curves; 2 heat maps and a trajectory of each search
    assert found["before"] == 7  # what is folded is drawn when it is unfolded
    assert found["lines"] >= 3
    last, first = (json.loads(text) for text in found["z"])
    data = Page(re.sub("<script>.*?</script>", "", page, flags=re.DOTALL)).data["alphas-0"]
    assert last == data["cells"][0]["values"][-1]
    assert first == data["cells"][0]["values"][0] != last
    assert found["epoch"] == "0"
    assert found["title"] == "reduce: 2 → 3"
    assert found["page"] <= found["window"] == width
