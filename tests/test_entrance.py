"""What stands before a server is told from the server itself, with what to set for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comfyui_api.entrance import certificate, is_login, readable, refusal, sent_on, web_page

AUTHELIA = "<!doctype html><html><head><title>Login - Authelia</title></head><body><div id=root></div></body></html>"
NGROK = "<!DOCTYPE html><html><body>You are about to visit x.ngrok-free.app ERR_NGROK_6024</body></html>"
CLOUDFLARE = "https://team.cloudflareaccess.com/cdn-cgi/access/login/gpu.example?kid=abc&redirect_url=%2F"


@pytest.mark.parametrize(
    ("challenge", "page", "words"),
    [
        ('Basic realm="gpu"', "", "user and a password"),
        ('Bearer realm="x"', "", "wants a token"),
        ("", AUTHELIA, "wants a login"),
        ("", '{"error": "forbidden"}', "user and password, token, headers, or key"),
        ("", CLOUDFLARE, "CF-Access-Client-Id"),
    ],
)
def test_a_refusal_says_what_to_set(challenge: str, page: str, words: str) -> None:
    assert words in refusal(401, challenge, page, sent=False)
    assert refusal(401, challenge, page, sent=False).startswith("No credentials were sent.")
    assert "are not accepted" in refusal(401, challenge, page, sent=True)
    assert "may not be enough" in refusal(403, challenge, page, sent=True)


@pytest.mark.parametrize(
    ("location", "shown", "words"),
    [
        ("/login?next=%2Fsystem_stats", "http://gpu:8188/login", "login stands before"),
        ("https://sso.example/authorize?state=s3cret", "https://sso.example/authorize", "login stands before"),
        (CLOUDFLARE, "https://team.cloudflareaccess.com/cdn-cgi/access/login/gpu.example", "CF-Access-Client-Id"),
        ("https://gpu/system_stats", "https://gpu/system_stats", "with https://"),
        ("http://me:pw@other/x", "http://other/x", "use its address there"),
        ("", "http://gpu:8188/system_stats", "use its address there"),
        ("http://[::1", "an address that is none", "Check the address"),
    ],
)
def test_a_redirect_is_told_without_its_query(location: str, shown: str, words: str) -> None:
    told, step = sent_on("http://gpu:8188/system_stats", location)
    assert told == shown
    assert words in step


def test_a_page_in_place_of_an_answer_is_told_apart() -> None:
    assert "login page" in web_page(AUTHELIA)
    assert "ngrok-skip-browser-warning" in web_page(NGROK)
    assert "not ComfyUI's API" in web_page("<html><title>It works!</title></html>")


def test_pages_are_quoted_without_their_markup() -> None:
    page = "<html><head><title>401</title><style>p{color:red}</style></head><body><p>No &amp; never</p></body></html>"
    assert readable(page) == "401 No & never"
    assert readable('{"error": "<node>"}') == '{"error": "<node>"}'


@pytest.mark.parametrize(
    ("reason", "words"),
    [
        ("self-signed certificate in certificate chain", "ca_file"),
        ("unable to get local issuer certificate", "ca_file"),
        ("certificate has expired", "Renew"),
        ("Hostname mismatch, certificate is not valid for 'x'.", "name that the certificate is for"),
        ("something new", "ca_file"),
    ],
)
def test_certificates_that_are_not_accepted_are_explained(reason: str, words: str) -> None:
    told, step = certificate(reason)
    assert reason.rstrip(".") in told
    assert words in step


@given(st.text() | st.text(alphabet="<>!-/ script=\"title'"), st.text())
def test_any_page_and_any_place_are_told_in_words(page: str, location: str) -> None:
    readable(page)
    is_login(page)
    assert web_page(page).endswith(".")
    assert refusal(403, location, page, sent=True).endswith(".")
    shown, step = sent_on("https://gpu.example/comfy/queue", location)
    assert step.endswith(".")
    assert "?" not in shown
