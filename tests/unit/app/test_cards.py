"""What a card tells, and that nobody's text is more on it than text."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from app import cards
from app.card_facts import LISTED_CHARACTERS, collect
from app.measures import MEASURES
from ended import checkpoint_file
from worker.contract.checkpoints import LearntClasses
from worker.contract.resources import view
from worker.contract.results import BestCheckpoint

NASTY = (
    "<script>alert(1)</script> **bold** [x](javascript:alert(2)) | `code` &lt; ![y](http://z/) {{ 7*7 }} \\ \n# title"
)


class Page(HTMLParser):
    """The elements of a page, with their attributes, and its text."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.text = [], ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture
def told(store, evaluation):
    return lambda: collect(store, view(store.read_request(evaluation), store.read_manifest(evaluation), None))


@pytest.fixture
def change(store):
    """Changes what a record has: `change(id, request={…}, result={…})`; None takes a field away."""

    def merged(old, new):
        return {name: value for name, value in (old | new).items() if value is not None}

    def apply(resource_id, request=None, result=None):
        record, manifest = store.read_request(resource_id), store.read_manifest(resource_id)
        store.write_request(record.model_copy(update={"request": record.request | (request or {})}))
        store.write_manifest(manifest.model_copy(update={"result": merged(manifest.result, result or {})}))

    return apply


def test_it_tells_what_was_learnt_from_how_and_what_came_of_it(told, change, dataset, training, evaluation):
    change(
        dataset,
        request={"where": {"labels": ["Nodule", "Mass"], "view": []}, "seed": 1234567},
        result={
            "patients": 90,
            "attrition": [
                {"step": "all rows", "removed": 0, "left": 112_120},
                {"step": "labels", "removed": 111_957, "left": 163},
            ],
            "licence": "CC BY 4.0",
            "citation": "A. Author: A Paper.",
        },
    )
    text = cards.as_markdown(told())
    for line in (
        "| source | clinic |",
        "| patients | 90 |",
        "| labels | Nodule, Mass |",
        "| seed | 1234567 |",
        "| labels | 111,957 | 163 |",
        "| split | train: 100, validation: 60, test: 0 |",
        "| family | tiny16 |",
        "| checkpoint | step 30 of 30 |",
        "| Fréchet distance | 75.47 | 81.25 | 3.948 | 0 is best; of as few images near the floor: as good as real |",
        "| recall | 0.5 | n/a | n/a | kinds of real image that are drawn; 1 is best |",
        "| copies | 0 | synthetic images that are suspiciously near |",
        "- 60 images are too few for 64 dimensions, which need 313: the distance comes out too large.",
        "Licence: CC BY 4.0",
        "Citation: A. Author: A Paper.",
        "| evaluated with | ragan: 0.1.0 |",
    ):
        assert line in text.splitlines()
    links = re.findall(r"\]\((.+?)\)", text)
    below = f"/v1/evaluations/{evaluation}"
    assert links == [f"{below}/grid.png", f"{below}/nearest.png", f"/v1/trainings/{training}/snapshots/30.png"]


def test_its_requests_are_those_that_were_sent(told, store, dataset, training, evaluation):
    text = cards.as_markdown(told())
    shown = [json.loads(block) for block in re.findall(r"```json\n(.*?)```", text, re.DOTALL)]
    assert shown == [store.read_request(each).request for each in (dataset, training, evaluation)]
    assert re.findall(r"`POST (.+)`", text) == ["/v1/datasets", "/v1/trainings", "/v1/evaluations"]


def test_the_page_has_its_pictures_in_it_and_asks_for_nothing(told):
    page = Page(cards.as_page(told()))
    pictures = page.all("img")
    assert len(pictures) == 3
    assert all(each["src"].startswith("data:image/png;base64,") for each in pictures)
    assert {tag for tag, _ in page.elements} & {"script", "link", "iframe", "object", "form", "a", "base"} == set()
    assert "default-src 'none'" in page.all("meta")[-1]["content"]
    assert "{{" not in page.text


def test_a_picture_that_is_not_there_is_left_out(told, store, training, evaluation):
    store.withdraw(training, "snapshots")
    store.withdraw(evaluation, "nearest.png")
    assert [each.file.name for each in told().pictures] == ["grid.png"]
    assert len(Page(cards.as_page(told())).all("img")) == 1


def test_text_of_people_is_text(told, change, dataset, training, evaluation):
    plain = {tag for tag, _ in Page(cards.as_page(told())).elements}
    model = {"family": NASTY, "preset": NASTY, "hyperparameters": {NASTY: NASTY}}
    change(
        dataset,
        request={"source": NASTY, "where": {"labels": [NASTY]}},
        result={
            "counts": {"label": {NASTY: 1}},
            "attrition": [{"step": NASTY, "removed": 0, "left": 1}],
            "licence": NASTY,
            "citation": NASTY,
        },
    )
    change(training, request={"model": model}, result={"devices": [NASTY], "precision": NASTY})
    change(evaluation, result={"caveats": [NASTY, "1. one", "- two", "---"], "classes": {NASTY: 0.5}})
    page = Page(cards.as_page(told()))
    shown = " ".join(NASTY.split())
    assert " ".join(page.text.split()).count(shown) >= 12
    assert {tag for tag, _ in page.elements} <= plain
    assert len(page.all("h1")) == 1
    assert len(page.all("img")) == 3
    for sentence in ("1. one", "- two", "---"):
        assert sentence in page.text


@pytest.mark.parametrize(
    ("place", "elements"),
    [
        ("{}", {"p"}),
        ("- {}", {"ul", "li"}),
        ("| |\n| --- |\n| {} |", {"table", "thead", "tbody", "tr", "th", "td"}),
        ("![{}](/x.png)", {"p", "img"}),
    ],
)
@given(text=st.text("ab1 .-=|\\`*_[]()<>&;#!\n\u202e~+", max_size=20) | st.text(max_size=60))
def test_any_text_is_shown_as_it_is(place, elements, text):
    page = Page(MarkdownIt("commonmark", {"html": False}).enable("table").render(place.format(cards._escaped(text))))
    printable = "".join(each if each.isprintable() else " " for each in text)
    assert {tag for tag, _ in page.elements} <= elements
    shown = page.all("img")[0]["alt"] if "img" in elements else page.text
    assert shown.split() == printable.split()


def test_records_of_older_versions_have_cards(told, change, store, dataset, training):
    change(dataset, result={"counts": None})
    store.withdraw(training, "checkpoints")
    text = cards.as_markdown(told())
    assert "Licence: unknown." in text
    assert "Citation: unknown." in text
    assert "images by" not in text
    assert "real images seen" not in text


def test_what_was_not_looked_for_is_said(told, store, evaluation):
    manifest = store.read_manifest(evaluation)
    store.write_manifest(manifest.model_copy(update={"result": manifest.result | {"memorisation": None}}))
    assert "This was not looked for" in cards.as_markdown(told())


def every_metric(number):
    return {
        name: {"value": dict.fromkeys(words.meanings, number), "floor": None, "floor_images": None}
        for name, words in MEASURES.items()
    }


def test_each_class_has_a_table_of_all_metrics(told, change, evaluation):
    change(evaluation, result={"subgroups": {"Mass": every_metric(0.125), "Nodule|<b>": every_metric(0.375)}})
    facts = told()
    text = cards.as_markdown(facts)
    mass, nodule = text.index("### Of Mass alone"), text.index("### Of Nodule\\|\\<b\\> alone")
    for part, value in ((text[mass:nodule], "0.125"), (text[nodule:], "0.375")):
        for words in MEASURES.values():
            for name, meaning in words.meanings.values():
                assert f"| {name} | {value} | n/a | n/a | {meaning} |" in part.replace("\\", "")
    page = Page(cards.as_page(facts))
    assert "Of Mass alone" in page.text
    assert "Of Nodule|<b> alone" in page.text
    assert len(page.all("table")) == len(Page(cards.as_page(replace(facts, subgroups=()))).all("table")) + 2


def test_it_tells_which_classes_a_training_was_kept_to_and_what_chose_the_checkpoint(
    told, change, store, dataset, training
):
    change(
        training,
        request={
            "classes": {"by": "labels", "only": ["Mass", "Nodule"]},
            "evaluate_every": 10,
            "evaluate_metrics": ["kernel_distance", "recall"],
        },
    )
    best = BestCheckpoint(step=30, metric="kernel_distance", value=0.5)
    name, content = checkpoint_file(30, dataset, best=best)
    store.publish_bytes(content, training, name)
    text = cards.as_markdown(told())
    for line in (
        "| classes | Mass, Nodule |",
        "| evaluated on the way | every 10 steps: kernel distance, recall |",
        "| best checkpoint | step 30, by kernel distance |",
    ):
        assert line in text.splitlines()
    assert "the validation part of the\ndataset, kept to the classes Mass, Nodule, all of 16 pixels" in text


def test_classes_that_were_learnt_are_named_though_none_was_asked_for(told, store, dataset, training):
    assert "kept to the classes" not in cards.as_markdown(told())
    name, content = checkpoint_file(30, dataset, LearntClasses(by="sex", names=("F", "M")))
    store.publish_bytes(content, training, name)
    text = cards.as_markdown(told())
    assert "kept to the classes F, M, all of" in text
    assert "| classes | F, M |" in text.splitlines()


def test_results_without_a_place_of_their_own_are_told_too(told, change, evaluation):
    change(evaluation, result={"classes": {"Nodule": {"recall": 0.25}}, "note": "as of today"})
    lines = cards.as_markdown(told()).splitlines()
    assert "| classes | Nodule: recall: 0.25 |" in lines
    assert "| note | as of today |" in lines


def test_a_long_list_of_names_is_cut(told, change, dataset):
    change(dataset, request={"where": {"labels": [f"Finding {number}" for number in range(300)]}})
    (text,) = (value for name, value in told().dataset if name == "labels")
    assert len(text) < LISTED_CHARACTERS + 10
    assert text.endswith(" …")


def test_the_page_is_sent_with_a_policy_of_its_own(http, evaluation):
    response = http.get(f"/v1/evaluations/{evaluation}/card.html")
    policy = response.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "script" not in policy
    assert response.headers["x-content-type-options"] == "nosniff"
    text = http.get(f"/v1/evaluations/{evaluation}/card.md")
    assert text.headers["content-security-policy"].startswith("default-src 'none'; base-uri")
