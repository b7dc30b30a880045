from __future__ import annotations

import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import PipelineError
from curate.pipeline import Stage, Step
from curate_operators import redact_rules as rules
from curate_operators.redact import ALL_KINDS, Pii, Redact
from curate_operators.redact_phone import phones
from curate_operators.redact_secrets import is_base58check
from curate_operators.redact_spans import find
from curate_operators.redact_windows import Window
from tests.engine import small
from tests.operators.conftest import batch, read_texts

EVERYTHING = Redact(kinds=ALL_KINDS)
# Made up; in two parts, so that nobody's scanner takes this file for a leak.
AWS_ID = "AKIA" + "QYLPMN5HFIQR7XYA"
GITHUB = "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a"
SLACK = "xoxb-" + "263594206564-2343594206574-FGqddMF8t08v8N7Oq4i57vs1"
GOOGLE = "AIza" + "SyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe"
JWT = "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0NTY3ODkwIn0." + "dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEY = (
    "-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: AES-128-CBC,0A1B\n\n"
    + "MIIEowIBAAKCAQEAz7dCq/+9Xk1\n" * 4
    + "-----END RSA PRIVATE KEY-----"
)


def masked(text: str | None, operator: Redact = EVERYTHING) -> str | None:
    result: str | None = operator.map(batch([text])).column("text")[0].as_py()
    return result


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("write to jane.doe+list@mail.example.co.uk!", "write to <EMAIL>!"),
        ("<a href='mailto:Jo_1@x-y.org?subject=z'>", "<a href='mailto:<EMAIL>?subject=z'>"),
        ("rené@müller.de, иван@почта.рф", "<EMAIL>, <EMAIL>"),
        ("邮箱zhang@qq.com。", "邮箱<EMAIL>。"),
        ("Contact......jo@x.org; email=jo@x.org", "Contact......<EMAIL>; email=<EMAIL>"),
        ("from 41.176.181.243:80 and http://86.121.97.248/x", "from <IP>:80 and http://<IP>/x"),
        ("[2a00:1450:4001:81b::200e] 2001:4860:4860::8888.", "[<IP>] <IP>."),
        ("card 4111 1111 1111 1111, 378282246310005", "card <CREDIT_CARD>, <CREDIT_CARD>"),
        ("6011-1111-1111-1117", "<CREDIT_CARD>"),
        ("IBAN GB82 WEST 1234 5698 7654 32 and", "IBAN <IBAN> and"),
        ("DE89370400440532013000; nl91abna0417164300", "<IBAN>; <IBAN>"),
        ("SSN 078-05-1120", "SSN <US_SSN>"),
        ("social security number: 078 05 1120", "social security number: <US_SSN>"),
        ("(212) 736-5000 x12; 212-736-5000; 1-212-736-5000", "<PHONE>; <PHONE>; <PHONE>"),
        ("212.736.5000 or +1 (212) 736-5000, ext. 44", "<PHONE> or <PHONE>"),
        ("+46 (0)8 928 571 38 · +447700677662 · +49-89-636-48018", "<PHONE> · <PHONE> · <PHONE>"),
        ("0041 44 668 18 00", "<PHONE>"),
        ("01 84 17 61 18, 03.93.92.16.85, 0680 298 70 63, (08) 8747 6301", "<PHONE>, <PHONE>, <PHONE>, <PHONE>"),
        ("Tel: 467 3395 / Fax 78 651 450", "Tel: <PHONE> / Fax <PHONE>"),
        ("电话：13812345678", "电话：<PHONE>"),
        ("电话13812345678, Телефон: 8 495 123-45-67", "电话<PHONE>, Телефон: <PHONE>"),
        ("please call me at 374 780 163 today", "please call me at <PHONE> today"),
        ("416 60 039 office\n783 16 038 fax", "<PHONE> office\n<PHONE> fax"),
        (f"{AWS_ID} {GITHUB} {SLACK} {GOOGLE} {JWT}", "<SECRET> <SECRET> <SECRET> <SECRET> <SECRET>"),
        (f"密钥{AWS_ID}。", "密钥<SECRET>。"),
        (f"a\n{KEY}\nb", "a\n<SECRET>\nb"),
        ("aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG+bPxRfiCYzLmN0pQ5rS", "aws_secret_access_key = <SECRET>"),
        ('api_key="' + 'q9X2vLm4Tz81RkPw7YbN"', 'api_key="<TOKEN>"'),
        ("send to 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "send to <CRYPTO>"),
        ("0x52908400098527886E0F7030069857D2E4169EE7", "<CRYPTO>"),
        ("http://8.8.8.8/x https://1.1.1.1 9.9.9.9:53, IP 8.8.4.4, ip=1.0.0.1;", "http://<IP>/x https://<IP> <IP>:53, IP <IP>, ip=<IP>;"),
        ("IPv4 address: 8.8.8.8\nand 8.8.4.4", "IPv4 address: <IP>\nand 8.8.4.4"),
        ("SSN no. 078-05-1120, SS# 078 05 1120, number 078-05-1120", "SSN no. <US_SSN>, SS# <US_SSN>, number <US_SSN>"),
        ("http://jo:hunter2@host.com/ and ftp://jo@host.com/", "http://<SECRET>@host.com/ and ftp://<EMAIL>/"),
        ("postgres://app:q9X2vLm4@db.host.org:5432/x", "postgres://<SECRET>@db.host.org:5432/x"),
        ("no-212-736-5000@mail.org is an address", "<EMAIL> is an address"),
    ],
)
def test_finds(before: str, after: str) -> None:
    assert masked(before) == after


@pytest.mark.parametrize(
    "text",
    [
        "name@example.com, a@b.test, git@github.com:user/repo, icon@2x.png, modprobe@configfs.service, @user, a@b",
        "10.0.0.1 192.168.100.200 127.0.0.1 192.0.2.44 203.0.113.255 224.100.100.100 255.255.255.255 999.176.181.243",
        "Chrome/91.120.44.124, version 41.176.181.243, v41.176.181.243, 1.41.176.181.243, section 3.10.2.1, 8.8.8.8",
        "86.121.97 3.10.2.1:5 §3.10.2.1, VIP 3.10.2.1, ip3.10.2.1, http://3.10.2.1.x.org, IP rating of 65 in 3.10.2.1, version 3.1.2.4:80",
        "http://user:pass@host.com/ https://$U:$P@host.com smb://<user>:<pw>@host.com http://jo:***@host.com ftp://jo:your_password@host.com",
        "Part no. 123-45-6789, part #123-45-6789, Order 123-45-6789; order number: 123-45-6789, No. 123-45-6789, P/N: 123-45-6789",
        "fe80::1ff:fe23:4567:890a 2001:db8::1 ::1 12:34:56 00:1b:44:11:3a:b7 std::vector a::b::c dead::beef",
        "4111 1111 1111 1112, 1234567812345678, 0.4111111111111111, 41111111111111112222, id_4111111111111111",
        "GB82 WEST 1234 5698 7654 33, XX82WEST12345698765432",
        "078-05-0000, 000-05-1120, 666-05-1120, 923-05-1120, 1078-05-1120, 078-05-1120-4, 078 05 1120",
        "2004-04-16 11:34:35, 16.04.2004, 04/16/2004 12:30, 1939-1945, 20040416, 1999 2000 2001 2002",
        "ISBN 978-0-306-40615-7, ISBN 0-306-40615-2, ISSN 0378-5955, doi:10.1000/182.345.678-9012",
        "order 4673395, no. 123 456 789, 1,234,567,890, 3.14159265358979, $212-736-5000, item 212-736-5000-A1",
        "00 01 02 03 04 05 06 07, 0101 1010 11, 1 2 3 4 5 6 7 8 9 10, 012 345 678, 12345678-1234-1234-1234-123456789012",
        "http://x.org/212-736-5000/, ?id=2127365000, +1234567890123456789, 212-736-50001, 911-736-5000, 212-111-5000",
        "the phone costs 1234567, telephone: 1999-2001, call 20041213, fax: 3, mobile 555",
        "sk-learn task-force AKIAshort ghp_short eyJ.eyJ. -----BEGIN PRIVATE KEY----- ... -----END PRIVATE KEY-----",
        "password='correct horse', token: 'aaaaaaaaaaaaaaaaaaaaaaaa', api_key = \"YOUR_API_KEY_GOES_HERE\"",
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb 0xffffffffffffffffffffffffffffffffffffffff",
    ],
)
def test_leaves(text: str) -> None:
    assert masked(text) == text


def test_a_masked_address_is_no_word_before_another() -> None:
    assert masked("86.121.97.248 and 3.1.2.4, 3.1.2.5") == "<IP> and 3.1.2.4, 3.1.2.5"


def test_passwords_in_web_addresses_are_no_mail() -> None:
    for text in ("http://jo:hunter2@host.com/", "http://user:pass@host.com/", f"https://{'u' * 40}:{'p9' * 32}@host.com"):
        assert masked(text, Redact(kinds=("email",))) == text


def test_private_addresses_on_request() -> None:
    operator = Redact(kinds=("ip",), public_ips_only=False)
    assert masked("192.168.100.200, fe80::1ff:fe23:4567, 192.0.2.44, 127.0.0.1", operator) == "<IP>, <IP>, 192.0.2.44, 127.0.0.1"


def test_counts_and_replacements() -> None:
    operator = Redact(kinds=("email", "ip"), replacements={"email": "email@example.com", "ip": "192.0.2.1"})
    docs = batch(["a@x.org b@x.org 41.176.181.243 212-736-5000", None, "nothing"])
    result = operator.map(docs)
    assert result.column("text").to_pylist() == ["email@example.com email@example.com 192.0.2.1 212-736-5000", None, "nothing"]
    assert result.column("pii").to_pylist() == [{"email": 2, "ip": 1}, {"email": 0, "ip": 0}, {"email": 0, "ip": 0}]
    assert operator.map(result.select(["id", "text"])).column("text").equals(result.column("text"))
    assert Redact(counts_into=None).map(docs).schema.names == ["id", "text"]


def test_pii_drops_by_the_kind_found_most() -> None:
    docs = batch(["a@x.org 212-736-5000 213-736-5000", "a@x.org", None, "nothing", "4111111111111111"])
    reasons = [row and (row["reason"], row["value"]) for row in Pii().drop(docs).to_pylist()]
    assert reasons == [("phone", 2.0), ("email", 1.0), None, None, ("credit_card", 1.0)]
    assert [row and row["reason"] for row in Pii(max_count=1).drop(docs).to_pylist()] == ["phone", None, None, None, None]


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"kinds": ()}, "empty"),
        ({"kinds": ("email", "email")}, "twice"),
        ({"kinds": ("mail",)}, "unknown kind: mail"),
        ({"replacements": {"mail": "x"}}, "unknown kind: mail"),
        ({"replacements": {"email": "jane@doe.org"}}, "personal data"),
    ],
)
def test_wrong_parameters(params: dict[str, object], sentence: str) -> None:
    with pytest.raises(PipelineError, match=sentence):
        Redact(**params)  # type: ignore[arg-type]


def test_check_digits() -> None:
    assert rules.passes_luhn("4111111111111111")
    assert not any(rules.passes_luhn(f"411111111111111{digit}") for digit in range(10) if digit != 1)
    assert rules.is_iban("GB82WEST12345698765432")
    assert not rules.is_iban("GB28WEST12345698765432")
    assert not rules.is_iban("GB82WEST1234569876543")
    assert is_base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa")
    assert not is_base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNA")


VALUES = ["jo@x.org", "41.176.181.243", "4111111111111111", "212-736-5000", "+46 8 928 571 38", "GB82WEST12345698765432", "078-05-1120"]
FRAGMENTS = [
    "8.8.8.8",
    "IP ",
    "http://",
    "u:q9X2@",
    "no. ",
    "0",
    "1",
    "7",
    "212",
    "736",
    "5000",
    "a",
    "x.org",
    "tel ",
    "SSN ",
    "fax",
    "2001:4860:4860::8888",
    AWS_ID,
]
PIECES = st.sampled_from([*"@.-+ \n:/()'\"=_<>é邮\U0001f600", *VALUES, *FRAGMENTS])


@settings(max_examples=600)
@given(st.lists(PIECES, max_size=14).map("".join))
def test_a_second_pass_changes_nothing(text: str) -> None:
    once = masked(text)
    assert masked(once) == once
    assert not find(pa.array([once], pa.large_string()), ALL_KINDS, True)


@settings(max_examples=300)
@given(st.lists(st.lists(PIECES, max_size=8).map("".join), min_size=1, max_size=5))
def test_neighbours_do_not_matter(texts: list[str]) -> None:
    together = EVERYTHING.map(batch(["212-736-", *texts, "@x.org"]).slice(1, len(texts)))
    alone = [EVERYTHING.map(batch([text])) for text in texts]
    assert together.column("text").to_pylist() == [one.column("text")[0].as_py() for one in alone]
    assert together.column("pii").to_pylist() == [one.column("pii")[0].as_py() for one in alone]


@pytest.mark.parametrize(
    "piece",
    ["1", "1 ", "(1)", "+1", "212-736-5000", "a.@", "a@b.", "eyJ-", "1:", "GB82 ", "tel 1234567 ", "4111 ", "1.1.1.1 ", "a://b:", "IP "],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    """One megabyte takes about a second at most here; a pattern that tries every split of the digits would not end."""
    begun = time.process_time()
    masked(piece * (1_000_000 // len(piece)))
    assert time.process_time() - begun < 20


def ips(window: Window) -> rules.Found:
    yield from rules.ipv4(window, True)
    yield from rules.ipv6(window, True)


def test_windows_miss_nothing_that_whole_documents_have(data: Path) -> None:
    """The rules over whole documents find what they find in the windows round marks, and nothing else."""
    texts = read_texts(data, "spam_email_sa", "pile_slices", "code_samples", limit=150)
    numbers = {
        "iban": rules.ibans,
        "credit_card": rules.credit_cards,
        "us_ssn": rules.us_ssns,
        "phone": phones,
        "email": rules.emails,
        "ip": ips,
    }
    found = 0
    for kind, rule in numbers.items():
        spans = find(pa.array(texts, pa.large_string()), (kind,), True)
        for row, text in enumerate(texts):
            raw = text.encode()
            whole = set(rule(Window(row, 0, raw, 0, len(raw), len(raw), False)))
            assert {(span.start, span.end) for span in spans.get(row, ())} == whole, kind
            found += len(whole)
    assert found > 2000


def test_precision_and_recall(data: Path) -> None:
    """Floors under what `python -m tests.benchmarks.pii` prints for the 1,500 synthetic texts of Presidio."""
    from tests.benchmarks.pii import score

    scores = {row.kind: row for row in score(data)}
    assert set(scores) == {"email", "ip", "phone", "credit_card", "iban", "us_ssn"}
    assert all(row.precision >= 0.99 for row in scores.values())
    assert scores["phone"].recall >= 0.95
    assert all(row.recall >= 0.92 for row in scores.values())


def test_in_a_pipeline(tmp_path: Path) -> None:
    texts = ["write to jo@x.org", "nothing here", "call 212-736-5000"]
    source = small.write_jsonl(tmp_path / "in/a.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(texts)])
    steps = [Step("redact"), Step("where", {"keep": "pii.email = 0"})]
    plan, _ = small.run(small.pipeline(source, {"clean": Stage("crawl", steps)}), tmp_path / "ws")
    rows = small.rows(plan.dataset("clean"))
    assert [(row["text"], row["pii"]["phone"]) for row in rows] == [("nothing here", 0), ("call <PHONE>", 1)]
