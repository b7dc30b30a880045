"""Different spellings of one page's address have one form, those of different pages do not, whatever stands beside them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate_operators.web_address_forms import one_form


def form(url: str | None, **how: object) -> str | None:
    found: str | None = one_form(pa.array([url], pa.string()), **how)[0].as_py()  # type: ignore[arg-type]
    return found


SAME = [
    ("http://example.com", "HTTP://EXAMPLE.com/"),
    ("http://example.com/a", " http://example.com/a/\n"),
    ("http://example.com/a", "https://example.com/a"),
    ("http://example.com/a", "example.com/a"),
    ("http://example.com/a", "//example.com/a"),
    ("http://example.com/a", "http://example.com.:80/a#top"),
    ("https://example.com/a", "https://example.com:443/a"),
    ("http://example.com/a", "http://user:secret@example.com/a"),
    ("http://example.com/?a=1&b=2", "http://example.com?b=2&a=1"),
    ("http://example.com/?a=1&b=2", "http://example.com?b=2&amp;a=1"),
    ("http://example.com/?a=1", "http://example.com/?utm_source=x&a=1&UTM_Medium=y&gclid=3&fbclid=4&"),
    ("http://example.com/x", "http://example.com/x/?utm_campaign=spring"),
    ("http://example.com/x", "http://example.com/x?"),
    ("http://example.com/~joe", "http://example.com/%7ejoe"),
    ("http://example.com/%C3%A9", "http://example.com/%c3%a9"),
    ("http://example.com/%C3%A9?q=%C3%BC", "http://example.com/é?q=ü"),
    ("http://xn--mnchen-3ya.de/", "http://MÜNCHEN.de"),
    ("http://[2001:db8::1]/a", "http://[2001:DB8::1]:80/a"),
]
DIFFERENT = [
    ("http://example.com/a", "http://example.com/A"),
    ("http://example.com/a", "http://example.com/b"),
    ("http://example.com/a", "http://example.com:8080/a"),
    ("http://example.com/a", "ftp://example.com/a"),
    ("http://example.com/a", "http://www.example.com/a"),
    ("http://example.com/?a=1&a=2", "http://example.com/?a=2&a=1"),
    ("http://example.com/?a", "http://example.com/?b"),
    ("http://example.com/?utm=1", "http://example.com/"),
    ("http://example.com/?xutm_source=1", "http://example.com/"),
    ("http://example.com/#!page", "http://example.com/#!other"),
    ("http://example.com/a%2Fb", "http://example.com/a/b"),
    ("http://example.com/a?b", "http://example.com/a%3Fb"),
    ("https://example.com:80/a", "https://example.com/a"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_one_page(one: str, other: str) -> None:
    assert form(one) == form(other)


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_two_pages(one: str, other: str) -> None:
    assert form(one) != form(other)


def test_parameters_of_the_form() -> None:
    assert form("https://a.org/", ignore_scheme=False) != form("http://a.org/", ignore_scheme=False)
    assert form("https://a.org/", ignore_scheme=False) == "https://a.org"
    assert form("http://www.a.org/x", ignore_www=True) == form("http://a.org/x")
    assert form("http://www./x", ignore_www=True) == "http://www/x"
    assert form("http://a.org/?session=1&ref=2", tracking=("sess*",)) == "http://a.org?ref=2"
    assert form("http://a.org/?utm_source=1", tracking=()) == "http://a.org?utm_source=1"
    assert form("http://a.org/?a.b=1&axb=2", tracking=("a.b",)) == "http://a.org?axb=2"


@pytest.mark.parametrize("text", ["", "not an address", "urn:isbn:0451450523", "mailto:a b"])
def test_what_names_no_host_stays(text: str) -> None:
    assert form(f" {text}\t") == text
    assert form(None) is None


PARTS = st.sampled_from(
    ["http:", "https:", "//", "/", "www.", "a", "B", ".org", ":80", ":", "?", "&", "=", "#", "#!", "%7e", "%", "%c3", "é", "utm_x=1", "&amp;", " ", "\\", "@"]
)  # fmt: skip
ADDRESSES = st.none() | st.lists(PARTS, max_size=9).map("".join)


@settings(max_examples=300)
@given(st.lists(ADDRESSES, max_size=6))
def test_an_address_does_not_depend_on_its_neighbours(urls: list[str | None]) -> None:
    whole = one_form(pa.array(urls, pa.string())).to_pylist()
    assert whole == [form(url) for url in urls]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(["/", "a", "B", "?", "&b=2", "&a=1", "#x", "%7e", "%41", "é", "utm_x=1&", ":"]), max_size=8).map("".join))
def test_a_form_has_itself_as_its_form(rest: str) -> None:
    once = form(f"https://www.example.org/{rest}")
    assert form(once) == once
