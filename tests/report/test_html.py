from html.parser import HTMLParser

import pytest

from segcgan.metrics.summary import CONVENTION
from segcgan.report.html import write_report

TABLE = (
    ["metric", "coarse", "chosen", "chosen − coarse"],
    [
        ["Dice ↑ (mean of cases)", "0.8000", "0.9000", "+0.1000"],
        ["IoU ↑ (mean of cases)", "0.8000", "0.7000", "−0.1000"],
        ["HD95 ↓ (mm)", "9.00", "4.00", "−5.00"],
        ["pixel accuracy ↑", "0.9", "0.9", "+0.0000"],
        ["cases", "3", "3", ""],
    ],
)
VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells, self.words, self.links = [], [], {}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]
        self.kind = dict(attrs).get("class", "")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "td":
            self.cells[data] = self.kind
        self.words.append(data)


def write(path, **more):
    write_report(path, "run <1> & co", {"Gate": "kept 41 of 50"}, TABLE, **more)
    page = Page(path.read_text(encoding="utf-8"))
    assert not page.open
    return page, "".join(page.words)


def test_the_page_is_whole_and_self_contained(tmp_path):
    path = tmp_path / "report.html"
    cases = (["case", "class", "Dice coarse"], [["p<1>", "liver", "–"]])
    strips = [("best: <b>p1</b>", b"png2")]
    page, words = write(path, curves=b"png1", strips=strips, cases=cases, notes=["One site."])
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert len(page.links) == 2
    assert all(link.startswith("data:image/png;base64,") for link in page.links)
    assert "script" not in page.tags
    assert "b" not in page.tags
    for text in ("run <1> & co", "kept 41 of 50", "best: <b>p1</b>", "p<1>", "One site.", "Not a medical device",
                 "95th percentiles", "Cheng 2021"):
        assert text in words


def test_only_a_real_change_is_coloured_and_less_distance_is_better(tmp_path):
    cells = write(tmp_path / "report.html")[0].cells
    assert cells["+0.1000"] == "better"
    assert cells["−0.1000"] == "worse"
    assert cells["−5.00"] == "better"
    assert cells["+0.0000"] == ""


def test_what_is_absent_leaves_no_empty_section(tmp_path):
    words = write(tmp_path / "report.html")[1]
    assert "Scores" in words
    assert "Training" not in words
    assert "Case by case" not in words


def test_a_failed_write_leaves_the_old_page(tmp_path):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        write_report(path, "\ud800", {}, TABLE)
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("label", "stated", "said"),
    [
        (CONVENTION, "surfels, max, rightly empty 1", "score 1 in Dice, IoU"),
        (CONVENTION, "surfels, max, rightly empty nan", "are left out of Dice, IoU"),
        ("HD95, ASSD, NSD, Boundary F: surface, percentile", "surfels, max", "are left out of Dice, IoU"),  # older runs
    ],
)
def test_the_rule_for_rightly_empty_masks_is_that_of_the_table(tmp_path, label, stated, said):
    lines = [*TABLE[1], [label, stated, stated, ""]]
    write_report(tmp_path / "report.html", "run", {}, (TABLE[0], lines))
    page = (tmp_path / "report.html").read_text()
    assert said in page
    assert "weighted by area (Nikolov 2018" in page
