"""The page as a document: complete, self-contained, escaped and the same for the same run."""

import base64
import hashlib
import html.parser
import json
import re

import pytest
from made_run import EVALUATED, figures, made_record, row, unfinished_record

from scarlet_tf.report.render import page, script_json
from scarlet_tf.report.views import FinetuneView

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Document(html.parser.HTMLParser):
    """Elements, ids, references and headings of a page; an element that closes another one is an error."""

    def __init__(self, text):
        super().__init__()
        self.open, self.ids, self.references, self.headings, self.scripts = [], [], [], [], []
        self.tags, self.words = [], ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append((tag, found))
        if tag not in VOID:
            self.open.append(tag)
        if "id" in found:
            self.ids.append(found["id"])
        for key in ("aria-labelledby", "aria-describedby", "aria-controls"):
            self.references += (found.get(key) or "").split()
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "script":
            self.scripts.append([found.get("type"), ""])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] == "script":
            self.scripts[-1][1] += data
        else:
            self.words += data


@pytest.fixture(scope="module")
def text():
    return page(made_record())


@pytest.fixture(scope="module")
def document(text):
    return Document(text)


def test_ids_are_unique_and_every_reference_leads_somewhere(document):
    assert len(document.ids) == len(set(document.ids))
    assert set(document.references) <= set(document.ids)
    anchors = {found["href"][1:] for tag, found in document.tags if tag == "a"}
    assert anchors <= set(document.ids)


def test_headings_leave_no_level_out(document):
    assert document.headings[0] == 1 and document.headings.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(document.headings, document.headings[1:], strict=False))


def test_nothing_is_asked_of_a_network(document):
    for tag, found in document.tags:
        assert not {"src", "srcset", "action", "data"} & set(found), tag
        assert not (found.get("href") or "#").startswith(("http", "//")), tag
    assert not any(tag in ("link", "iframe", "object") for tag, _ in document.tags)


def test_the_policy_allows_the_two_scripts_of_the_page_and_no_other(document):
    policy = next(found["content"] for _, found in document.tags if found.get("http-equiv"))
    runs = [script for kind, script in document.scripts if kind is None]
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in runs]
    assert re.findall("'sha256-([^']+)'", policy) == digests and len(digests) == 2
    assert "default-src 'none'" in policy and "script-src 'unsafe" not in policy
    assert not any(key.startswith("on") for _, found in document.tags for key in found)


def test_every_plot_has_words_and_its_figures_are_json(document):
    areas = [found for tag, found in document.tags if found.get("class") == "area needs-script"]
    assert len(areas) == 7
    assert all(found["role"] == "img" and found["aria-describedby"] in document.ids for found in areas)
    data = [json.loads(script) for kind, script in document.scripts if kind == "application/json"]
    assert len(data) == 14


def test_each_network_has_its_drawing_its_figures_and_a_button(text, document):
    articles = [found for tag, found in document.tags if tag == "article"]
    assert [("hidden" in found) for found in articles] == [True, False]
    buttons = [found["aria-controls"] for tag, found in document.tags if found.get("class") == "show needs-script"]
    assert buttons == ["network-1", "network-2"]
    assert text.count('class="drawing"') == 3  # the two of the front, and the retrained one


def test_tables_have_captions_and_headed_rows_and_columns(document):
    tags = [tag for tag, _ in document.tags]
    assert tags.count("table") == tags.count("caption") > 8
    assert {found.get("scope") for tag, found in document.tags if tag == "th"} == {"col", "row"}


def test_the_sections_state_what_the_run_found(text):
    for words in ("merged into the convolution after it", "12,345", "model_int8.tflite", "keras"):
        assert words in text


def test_hostile_names_stay_text():
    hostile = made_record(
        name=HOSTILE,
        config_text=HOSTILE,
        warnings=[HOSTILE],
        unreadable=[HOSTILE],
        dataset={**figures()["dataset.json"], "name": HOSTILE, "classes": [HOSTILE]},
        front={**figures()["pareto.json"], "picks": [row("1,3,0,2", name=HOSTILE)]},
    )
    document, usual = Document(page(hostile)), Document(page(made_record()))
    assert len(document.scripts) == len(usual.scripts)
    assert not any(tag == "img" for tag, _ in document.tags)
    hover = next(json.loads(data) for kind, data in document.scripts if "retrained" in data and kind)
    assert "&lt;img src=x" in json.dumps(hover) and "<img" not in json.dumps(hover)


def test_json_in_a_script_keeps_its_values_without_closing_it():
    value = {"a": "</script>&\u2028", "b": [1, None]}
    assert json.loads(script_json(value)) == value
    assert not set("<>&\u2028") & set(script_json(value))


def test_the_same_run_gives_the_same_page(text):
    assert page(made_record()) == text


@pytest.mark.parametrize("done", range(4))
def test_an_unfinished_run_says_what_is_missing_and_which_command_adds_it(done):
    document = Document(page(unfinished_record(done)))
    for words in ("has not written its front yet", "No network was retrained yet", "Nothing is exported yet"):
        assert words in document.words
    for command in ("rank", "run"):
        assert f"scarlet {command} runs/made/config.yaml --run-dir runs/made" in document.words
    assert f"the next stage is {('train-supernet', 'search', 'retrain', 'export')[done]}" in document.words
    assert document.headings[0] == 1


def test_a_run_that_was_not_monitored_names_the_command_of_one_that_is():
    words = Document(page(made_record(monitor=None))).words
    assert "scarlet run runs/made/config.yaml --run-dir runs/made_monitored --set supernet.monitor_paths=32" in words


def test_a_run_without_a_supernet_says_so_and_calls_accuracies_predicted():
    tau = {"predicted": {"tau": 0.75, "low": 0.5, "high": 0.9}}
    networks = [
        {"architecture": choices, "multiply_adds": 1e6, "stand_alone": 0.5, "predicted": 0.4} for choices in EVALUATED
    ]
    ranking = {**figures()["ranking/result.json"], "tau": tau, "networks": networks}
    words = Document(page(made_record(known_by="predicted", ranking=ranking, monitor=None))).words
    assert "No supernet was trained: accuracies are predicted" in words and "Updates of each choice" not in words
    assert "predicted from the others: tau 0.75" in words and "one-shot" not in words.lower()


def test_a_fine_tuned_network_has_a_page_without_a_search():
    network = {**figures()["retrain/result.json"], "origin": {"network": "scarlet_a"}, "init": "finetune"}
    for key in ("pick", "one_shot_accuracy"):
        del network[key]
    without = dict.fromkeys(("front", "supernet", "monitor", "ranking"))
    text = page(made_record(view=FinetuneView(), network=network, **without))
    assert "fine-tuned from scarlet_a" in text and 'id="front"' not in text
    assert Document(text).headings[:2] == [1, 2]
