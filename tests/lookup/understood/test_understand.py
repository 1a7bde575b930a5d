"""What is understood of queries to a shop, asked as its users ask: by the command, and of an open reader."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lookup
from foundation.errors import InputError
from lookup.late import search_late
from lookup.query import Query
from lookup.search import Reader
from tests.support.command import told, vitrine
from tests.support.understood import ROWS, shop


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """48 products."""
    return shop(tmp_path_factory.mktemp("understood"))


@pytest.fixture(scope="module")
def reader(store: Path) -> Reader:
    """The open snapshot."""
    return lookup.open(str(store))


def search(store: Path, text: str, *more: str) -> dict[str, Any]:
    """`vitrine search --understand`, as JSON."""
    done = vitrine("search", store, "--text", text, "--understand", "--json", *more)
    assert done.exit_code == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def meanings(answer: dict[str, Any]) -> list[str]:
    """`condition (action)` of each."""
    return [f"{one['condition']} ({one['action']})" for one in answer.get("understood", {}).get("meanings", ())]


@pytest.mark.parametrize(
    ("text", "expected", "left"),
    [
        ("boots under 20", ["price < 20 (filter)"], "boots"),
        ("boots under 20 euros for men", ["price < 20 (filter)"], "boots for men"),
        ("boots 10 to 20", ["price between 10, 20 (filter)"], "boots"),
        ("boots at least 4 stars", ["rating >= 4 (filter)"], "boots"),
        ("四星以上 boots", ["rating >= 4 (filter)"], "boots"),
        ("boots not leather", ["material != leather (filter)"], "boots"),
        ("non-leather boots", ["material != leather (filter)"], "boots"),
        ("leather-free boots", ["material != leather (filter)"], "boots"),
        ("boots without any wool", ["material != wool (filter)"], "boots"),
        ("不要皮革的 boots", ["material != leather (filter)"], "boots"),
        ("非皮质 boots", ["material != leather (filter)"], "boots"),
        ("acme boots", ["brand in ACME, Acme (boost)"], "acme boots"),
        ("under armour boots", ["brand = Under Armour (boost)"], "under armour boots"),
        ("no fear boots", ["brand = No Fear (boost)"], "no fear boots"),
        ("红色 boots", ["color = red (boost)"], "红色 boots"),
        ("boots size 42", ["size = 42 (boost)"], "boots size 42"),
        ("boots 42码", ["size = 42 (boost)"], "boots 42码"),
        (
            "red UnderArmour boots under 20 euros, not wool",
            ["color = red (boost)", "brand = Under Armour (boost)", "price < 20 (filter)", "material != wool (filter)"],
            "red UnderArmour boots",
        ),
    ],
)
def test_what_a_query_names_is_told_and_binds(store: Path, text: str, expected: list[str], left: str) -> None:
    """Conditions and boosts stand beside the hits, which meet every filter; bounds are no longer looked for."""
    answer = search(store, text, "-k", str(ROWS))
    assert meanings(answer) == expected
    assert answer["understood"]["text"] == left
    filters = [one["condition"] for one in answer["understood"]["meanings"] if one["action"] == "filter"]
    if "!=" not in "".join(filters):  # which `where` reads otherwise: products without a material do not meet it
        words = [word for one in filters for word in ("--where", one)]
        plain = vitrine("search", store, "--text", left, "--json", "-k", ROWS, *words)
        assert {hit["id"] for hit in answer["hits"]} == {hit["id"] for hit in json.loads(plain.stdout)["hits"]}


def test_products_without_a_value_meet_what_is_not_wanted(store: Path) -> None:
    """`not leather` leaves out leather alone: half of the others have no material at all or another one."""
    hits = search(store, "boots not leather", "-k", str(ROWS))["hits"]
    assert len(hits) == ROWS * 3 // 4
    assert {hit["attributes"]["material"] for hit in hits} == {None, "cotton", "wool"}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "over the knee boots",
            "4 in 1",
            "20 pack",
            "iphone 15",
            "boots 42",
            "boots m",
            "not a word",
            "do not disturb",
        ),
        *("vitamins for women over 50", "games for kids under 5", "ages 3 to 5", "tv under 40 inch", "under 20 lbs"),
        *(
            "5 star hotel",
            "dumbbell under 20 pounds",
            "lego 8 and up",
            "socks 39-42",
            "no country for old men",
            "三星手机",
        ),
        *("without a trace", "size matters", "boots size 99", "from 10 to", "windows under 7", "👟", "m", "20"),
    ],
)
def test_words_of_products_are_left_alone(reader: Reader, text: str) -> None:
    """Where nothing is certain the query is searched as it was typed."""
    query, understood = reader.understand(Query(text, understand=True))
    assert understood.meanings == ()
    assert (query.text, query.where, query.boosts) == (text, (), ())


def test_a_bound_in_another_currency_is_told_and_left_alone(store: Path) -> None:
    """Nothing is converted: products in euros are not held against dollars, nor against what no product costs."""
    answer = search(store, "boots under 20 dollars")
    assert answer["understood"]["notes"] == ["`under 20 dollars` was left as words: prices are in EUR"]
    assert meanings(answer) == []
    (note,) = search(store, "boots over 1000")["understood"]["notes"]
    assert note == "`over 1000` was left as words: no product meets price > 1000"


def test_nothing_is_understood_unless_somebody_asks(store: Path) -> None:
    """Without the option, and without the config, hits are those of the words, and the answer says nothing more."""
    done = vitrine("search", store, "--text", "boots under 20 euros", "--json")
    answer = json.loads(done.stdout)
    assert "understood" not in answer
    reader = lookup.open(str(store))
    assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in reader.search("boots under 20 euros")]
    assert reader.found(Query("boots under 20 euros")).understood.meanings == ()


def test_the_config_switches_it_on_and_says_what_becomes_of_it(tmp_path: Path) -> None:
    """`search.understand` holds for every query that does not say otherwise: here boosts where the default filters."""
    on = ("search.understand.always=true", "search.understand.prices=boost", "search.understand.negations=off")
    store = shop(tmp_path, *on, "search.understand.values=filter", "search.understand.boost=0.5")
    answer = json.loads(vitrine("search", store, "--text", "red boots under 5, not leather", "--json").stdout)
    assert meanings(answer) == ["color = red (filter)", "price < 5 (boost)"]
    assert {hit["attributes"]["color"] for hit in answer["hits"]} == {"red"}
    assert {hit["id"] for hit in answer["hits"][:2]} == {"P0", "P3"}
    off = json.loads(vitrine("search", store, "--text", "red boots under 5", "--no-understand", "--json").stdout)
    assert "understood" not in off


def test_a_name_that_no_attribute_has_is_refused(tmp_path: Path) -> None:
    """The config says at once that prices cannot be bound by a column that is not carried."""
    done = vitrine(
        "plan", "-c", "configs/weightless.yaml", "catalog.path=c", f"store.path={tmp_path}",
        "search.understand.price=cost",
    )  # fmt: skip
    assert done.exit_code == 2
    expected, came, _ = told(done.stderr)
    assert "search.understand.price" in done.stderr
    assert "catalog.attributes" in expected + came + done.stderr


def test_people_read_it_in_a_line_and_on_the_page(store: Path, tmp_path: Path) -> None:
    """The command's text and the page of hits say what was understood."""
    words = "price < 20 (filter), brand in ACME, Acme (boost)"
    done = vitrine("search", store, "--text", "under 20 euros acme", "--understand", "--html", tmp_path / "hits.html")
    assert f"understood: {words}; looked for: acme" in done.stdout
    assert "understood: price &lt; 20 (filter), brand in ACME, Acme (boost)" in (tmp_path / "hits.html").read_text()


def test_a_query_of_a_bound_alone_is_looked_for_as_it_is(reader: Reader) -> None:
    """There are hits, within the bound."""
    found = reader.found(Query("under 10 euros", understand=True))
    assert found.understood.text == "under 10 euros"
    assert {hit.id for hit in found.hits} == {f"P{n}" for n in range(10)}


def test_late_fusion_is_bound_too(reader: Reader) -> None:
    """A list merged by rank holds what the bound lets through."""
    hits = search_late(reader, Query("boots under 10 euros", understand=True, k=ROWS))
    assert {hit.id for hit in hits} == {f"P{n}" for n in range(10)}


def test_dollars_are_prices_of_a_shop_that_sells_in_dollars(tmp_path: Path) -> None:
    """A sign that several currencies share means the one that the shop has."""
    store = shop(tmp_path, currency=" USD")
    assert meanings(search(store, "boots under $20")) == ["price < 20 (filter)"]
    assert meanings(search(store, "boots under 20 pounds")) == []


def test_a_bound_without_a_currency_is_not_guessed(tmp_path: Path) -> None:
    """In a shop of several it is told, and left as words, unless the config has the shop's own; a sign may do."""
    for own, said in (("null", []), ("EUR", ["price < 20 EUR (filter)"])):
        store = shop(tmp_path, f"catalog.currency={own}", currency=[" EUR", " USD", " CAD", ""])
        assert meanings(search(store, "boots under 20")) == said
        assert meanings(search(store, "priced under 20")) == said
        assert meanings(search(store, "boots under 20 euros")) == ["price < 20 EUR (filter)"]
        assert meanings(search(store, "boots under $20")) == []
    assert (
        "name one in the query, or set catalog.currency"
        in vitrine(
            "search", shop(tmp_path, currency=[" EUR", " USD"]), "--text", "boots under 20", "--understand"
        ).stdout
    )


@given(st.text(max_size=40))
def test_any_text_can_be_understood(reader: Reader, text: str) -> None:
    """What is typed is searched, or refused as it is without: never a fault."""
    try:
        reader.found(Query(text, k=1, understand=True))
    except InputError:
        with pytest.raises(InputError):
            reader.search(text, k=1)


def test_rated_like_this_is_as_well_as_the_products_to_be_like(store: Path, reader: Reader) -> None:
    """By the option and by words alike: the least of their ratings bounds hits from below; words that say nothing else
    are not looked for.
    """
    rated = {f"P{n}": 1 + n % 9 / 2 for n in range(ROWS)}  # P8 has 5, P6 has 4
    least = {one for one, rating in rated.items() if rating >= 4}
    hits = reader.search(like=["P8", "P6"], rated_like=True, k=ROWS)
    assert {hit.id for hit in hits} == least - {"P6", "P8"}
    answer = search(store, "rated like this", "--like", "P6", "--like", "P8", "-k", str(ROWS))
    assert meanings(answer) == ["rating >= 4.0 (filter)"]
    assert [hit["id"] for hit in answer["hits"]] == [hit.id for hit in hits]
    for text in ("mug rated as well as it", "mug 评分和这个一样", "同样评分 mug"):
        answer = search(store, text, "--like", "P6", "-k", str(ROWS))
        assert (meanings(answer), answer["understood"]["text"]) == (["rating >= 4.0 (filter)"], "mug")
        assert {hit["id"] for hit in answer["hits"]} == least - {"P6"}
    done = vitrine("search", store, "--like", "P6", "--rated-like")
    assert "understood: rating >= 4.0 (filter)\n" in done.stdout
    assert search(store, "mug rated like this")["understood"]["notes"] == [
        "`rated like this` was left as words: no product that hits are to be like has a rating"
    ]
    with pytest.raises(InputError, match="rated_like alone"):
        reader.search("mug", rated_like=True)


def test_what_no_attribute_says_is_told(tmp_path: Path) -> None:
    """Bounds of prices and of ratings that nothing declares stay words, and the answer says so."""
    bare = shop(tmp_path, "catalog.attributes=[title,brand]", "catalog.prices=[]")
    answer = search(bare, "mug under 20 euros 4 stars and up")
    assert answer["understood"]["meanings"] == []
    price, rating = answer["understood"]["notes"]
    assert price.startswith("`under 20 euros` was left as words: no price is declared")
    assert rating.startswith("`4 stars and up` was left as words: no number is called rating")
    assert "understood" not in search(bare, "mug under 20")
    done = vitrine("search", bare, "--like", "P6", "--rated-like")
    assert (done.exit_code, "ratings" in told(done.stderr)[0]) == (2, True)
