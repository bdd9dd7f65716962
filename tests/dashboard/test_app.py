import hashlib
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient
from tests.dashboard.conftest import text

from penstock.dashboard.app import make_app

PAGES = ("/", "/requests", "/requests/req-1", "/prices", "/nowhere", "/requests/none")


@pytest.mark.parametrize("path", PAGES)
def test_pages_load_nothing_from_elsewhere_and_hold_no_code_of_their_own(two: TestClient, path: str) -> None:
    reply = two.get(path)
    assert "script-src 'self'; style-src 'self'" in reply.headers["content-security-policy"]
    assert "unsafe" not in reply.headers["content-security-policy"]
    assert reply.headers["x-content-type-options"] == "nosniff"
    assert reply.headers["cache-control"] == "no-store"
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", reply.text)
    assert all(src.startswith("/static/") for src in re.findall(r'(?:src|<link[^>]+href)="([^"]+)"', reply.text))
    assert re.findall(r"<script(?![^>]*\ssrc=)", reply.text) == []


@pytest.mark.parametrize("path", PAGES)
def test_pages_can_be_used_by_ear_and_keyboard(two: TestClient, path: str) -> None:
    page = two.get(path).text
    assert '<html lang="en">' in page
    assert page.count("<h1") == 1
    assert page.count("<main") == 1
    assert '<a class="skip" href="#content">' in page
    assert len(re.findall(r"<table", page)) == len(re.findall(r"<caption", page))
    assert all("scope=" in head for head in re.findall(r"<th\b[^>]*>", page))
    assert all("aria-" in svg for svg in re.findall(r"<svg\b[^>]*>", page))
    ids = re.findall(r'\sid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_static_files_are_there_and_kept(two: TestClient) -> None:
    client = two
    for src in re.findall(r'(?:src|href)="(/static/[^"]+)"', client.get("/prices").text):
        reply = client.get(src)
        assert reply.status_code == 200
        assert "max-age" in reply.headers["cache-control"]
    assert client.get("/static/../app.py").status_code == 404


def test_what_is_not_there_is_told_to_people_and_to_programs(two: TestClient) -> None:
    client = two
    page = client.get("/nowhere")
    assert (page.status_code, "There is no page '/nowhere'." in text(page.text)) == (404, True)
    answer = client.get("/api/nowhere")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert client.post("/api/spend").status_code == 405


def test_health_is_ok_while_the_ledger_can_be_read(two: TestClient) -> None:
    assert two.get("/api/health").json()["status"] == "ok"


def test_the_app_starts_on_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    with TestClient(make_app(tmp_path / "new")) as client:
        assert client.get("/").status_code == 200
        assert "No price fits this filter." in client.get("/prices").text


@pytest.mark.parametrize("path", ["/", "/requests", "/prices"])
def test_the_columns_that_a_narrow_screen_leaves_out_are_left_out_of_head_and_rows_alike(
    two: TestClient, path: str
) -> None:
    tables = re.findall(r"<thead>(.*?)</thead>\s*<tbody>(.*?)</tbody>", two.get(path).text, re.DOTALL)
    left_out = 0
    for head, body in tables:
        lines = [head, *body.split("</tr>")[:-1]]
        marks = {tuple("less" in cell for cell in re.findall(r"<t[hd]\b([^>]*)>", line)) for line in lines}
        assert len(marks) == 1
        left_out += any(marks.pop())
    assert left_out


def test_a_static_file_that_changes_has_another_address(two: TestClient) -> None:
    page = two.get("/").text
    address, digest = re.findall(r'href="(/static/style\.css\?v=(\w+))"', page)[0]
    assert hashlib.sha256(two.get(address).content).hexdigest().startswith(digest)
