"""Bounds and wishes in queries, read by the grammar alone."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from encoders.text import clean_text
from lookup.understood.grammar import Bound, find_bounds, find_wishes, tokens_of

numbers = st.decimals(min_value=0, max_value=99_999, places=2)
words = st.sampled_from(["", "red dress", "连衣裙", "usb-c cable", "iphone 15"])
ENGLISH = {
    "<": ["under {}", "less than {}", "cheaper than {}", "priced below {}", "< {}"],
    "<=": ["up to {}", "at most {}", "no more than {}", "{} or less", "max {}", "within {}", "{} max"],
    ">": ["over {}", "more than {}", "price above {}", "> {}"],
    ">=": ["at least {}", "not less than {}", "{} or more", "{} and up", "{}+", ">= {}"],
}
CHINESE = {
    "<": ["低于{}", "少于{}"],
    "<=": ["{}以下", "{}以内", "不超过{}", "价格{}以内", "最多{}"],
    ">": ["高于{}", "超过{}"],
    ">=": ["{}以上", "不低于{}", "至少{}", "{}起"],
}
RANGES = ["{} to {}", "between {} and {}", "from {} to {}", "{}-{}", "{}到{}", "{}至{}之间", "介于{}和{}之间"]
MONEY = {"${}": "$", "{} euros": "EUR", "€{}": "EUR", "{} USD": "USD", "{}元": "元", "{}块": "元", "¥{}": "¥"}


def bounds(text: str) -> list[Bound]:
    """Those in a text, cleaned as queries are."""
    return find_bounds(tokens_of(clean_text(text, 10_000)))


def said(text: str) -> list[tuple[str, str, list[str], str | None]]:
    """The same in short: kind, operator, numbers, currency."""
    return [
        (one.kind, one.operator, [f"{value.amount:f}" for value in one.values], one.values[0].currency)
        for one in bounds(text)
    ]


@given(data=st.data(), number=numbers, before=words, after=words)
def test_a_bound_that_is_written_is_read(data: st.DataObject, number: Decimal, before: str, after: str) -> None:
    """Operator, amount and currency come back from every way to write them, in both languages, in any query."""
    operator = data.draw(st.sampled_from(sorted(ENGLISH)))
    written = data.draw(st.sampled_from(ENGLISH[operator] + CHINESE[operator]))
    money = data.draw(st.sampled_from(sorted(MONEY)))
    text = f"{before} {written.format(money.format(number))} {after}"
    assert said(text) == [("price", operator, [f"{number:f}"], MONEY[money])], text


@given(data=st.data(), ends=st.lists(numbers, min_size=2, max_size=2, unique=True), before=words)
def test_a_range_that_is_written_is_read(data: st.DataObject, ends: list[Decimal], before: str) -> None:
    """Both ends come back; a currency may stand at both or at the last."""
    least, most = sorted(ends)
    money = data.draw(st.sampled_from(sorted(MONEY)))
    first = data.draw(st.sampled_from([money, "{}"]))
    written = data.draw(st.sampled_from(RANGES)).format(first.format(least), money.format(most))
    expected = [("price", "between", [f"{least:f}", f"{most:f}"])]
    assert [one[:3] for one in said(f"{before} {written}")] == expected, written


@pytest.mark.parametrize(
    ("text", "operator", "number"),
    [
        *(("4 stars and up", ">=", "4"), ("4+ stars", ">=", "4"), ("at least 4.5 stars", ">=", "4.5")),
        *(("rating >= 4", ">=", "4"), ("rated 4 or higher", ">=", "4"), ("rating above 3", ">", "3")),
        *(("四星以上", ">=", "4"), ("4星以上", ">=", "4"), ("评分4.5以上", ">=", "4.5"), ("评分高于四", ">", "4")),
    ],
)
def test_ratings_are_read(text: str, operator: str, number: str) -> None:
    """Stars and ratings, in both languages, are bounds of ratings and not of prices."""
    assert [one[:3] for one in said(f"headphones {text}")] == [("rating", operator, [number])]


@pytest.mark.parametrize(
    ("written", "number"),
    [
        ("1,299.00", "1299"),
        ("1.5k", "1500"),
        ("2万", "20000"),
        ("一百五十", "150"),
        ("两万三千", "23000"),
        ("十五", "15"),
    ],
)
def test_numbers_are_read_as_they_are_written(written: str, number: str) -> None:
    """Marks between thousands, `k`, and Chinese numerals."""
    (one,) = bounds(f"under {written} 元")
    assert one.values[0].amount == Decimal(number)


@pytest.mark.parametrize(
    "text",
    [
        *("under armour", "over the knee boots", "4 in 1", "20 pack", "iphone 15", "iphone 15 pro max", "air max 90"),
        *("20-50", "4-6 years", "100-240 v adapter", "5 star hotel towels", "three amigos", "x-20", "under x20"),
        *("4 x 100 ml", "from 9 to", "between us", "50 to 20 euros", "七分裤", "三星手机", "一次性手套", "100元"),
        *("no country for old men", "more than words", "up to date", "euro 2020 ball", "20% off", "$", "元", "以上"),
        *("kids 8 and up", "ages 3 to 5 toys 8+", "max 20", "within 50", "四五元以下", "1/2 under"),
    ],
)
def test_words_of_products_are_no_bounds(text: str) -> None:
    """Names, sizes, packs, ages and series stay what they are."""
    found = [one for one in bounds(text) if one.explicit]
    assert found == []


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [("size 42", "size", "42"), ("42码", "size", "42"), ("尺码M", "size", "M"), ("boots in size 42", "size", "42")],
)
def test_sizes_are_read(text: str, kind: str, value: str) -> None:
    """A number or a word is a size where a word says so."""
    assert [(one.kind, str(one.value)) for one in find_wishes(tokens_of(text))] == [(kind, value)]


@given(
    st.text(max_size=60)
    | st.text(st.sampled_from("0123456789.,-~+<>=$€¥元以上下到under over至少四星 码不要"), max_size=40)
)
@example("")
@example("👩‍👩‍👧 under 👟 20元以下 \u200b")
@example("9" * 500 + "元以下")
@example("零" * 50 + "元以下 万千百 under 十百")
@example("<" * 300)
def test_any_text_is_read_without_a_fault(text: str) -> None:
    """Whatever is typed, bounds have finite amounts, rising, and lie one behind the other among the words."""
    tokens = tokens_of(text)
    found = find_bounds(tokens)
    find_wishes(tokens)
    places = [place for one in found for place in (one.first, one.last)]
    assert places == sorted(places)
    for one in found:
        amounts = [value.amount for value in one.values]
        assert all(amount.is_finite() for amount in amounts)
        assert amounts == sorted(amounts)
