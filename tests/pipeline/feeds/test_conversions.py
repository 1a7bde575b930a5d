"""What a map's conversions make of values, through the command."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.feeds.conversions import without_html
from tests.support.feeds import column, import_rows

HTML = {
    "<p>Hello <b>wor</b>ld</p><script>x()</script><p>3 &lt; 5 &amp; caf&eacute;</p>": "Hello world 3 < 5 & café",
    "I <3 you": "I <3 you",
    "3 < 5 <br/> 6": "3 < 5 6",
    "a &amp; b": "a & b",
    "<ul><li>one</li><li>two</li></ul>tail<!-- said to nobody -->": "one two tail",
    "<![CDATA[<p>from a feed in XML</p>]]>": "from a feed in XML",
    "<div>a\x01b &#1; c</div>": "a b c",
    "<div>" * 1_000 + "deep": "deep",
    "<p></p>": None,
    "&lt;p&gt;escaped &amp;amp; once more&lt;/p&gt;": "escaped & once more",
    "a &lt;b and c&gt; d": "a <b and c> d",
}
PIECES = [
    "<",
    ">",
    "<p>",
    "</p>",
    "<!--",
    "-->",
    "<script>",
    "</script>",
    "&",
    "&amp;",
    "&#0;",
    "&#1;",
    "<![CDATA[",
    "]]>",
]


def test_html_becomes_what_a_browser_shows(tmp_path: Path) -> None:
    """Tags go, entities are characters, what is never shown is not there, and what is no tag stays."""
    written = io.StringIO(newline="")
    csv.writer(written).writerows([["id", "title", "description"], *([n, "t", text] for n, text in enumerate(HTML))])
    rows, report = import_rows(tmp_path, written.getvalue())
    assert column(rows, "description") == list(HTML.values())
    assert not report["rejected"]


@settings(max_examples=200)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=15).map("".join))
def test_no_text_is_too_odd_for_a_browsers_eye(text: str) -> None:
    """Whatever was taken for HTML, one text or none comes back."""
    import pyarrow as pa

    found = without_html(pa.array([text, "plain"]))
    assert found[1].as_py() == "plain"
    assert isinstance(found[0].as_py(), str | None)


def test_numbers_that_a_spreadsheet_cut_are_said(tmp_path: Path) -> None:
    """`4.00638E+12` was a GTIN: what it was is gone, and the report says where to mend it."""
    _, report = import_rows(tmp_path, "id,title,gtin\n1,a,4.00638E+12\n2,b,4006381333931\n3,c,4.1E+12\n")
    assert report["notices"] == [
        "2 values of gtin are numbers that a spreadsheet cut, as 4.00638E+12: export the column as text"
    ]
