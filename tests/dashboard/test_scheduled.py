"""Reports that are sent by themselves, and anomalies that are told: each once, with the figures of the ledger."""

import re
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.analytics.made import event

from penstock.analytics.budget_outlook import Allowance
from penstock.analytics.overlap import counted
from penstock.analytics.report_schedule import AnomalyWatch, ScheduledReport, newest
from penstock.dashboard.scheduled import Desk, send_due, tell_of_anomalies, write
from penstock.ledger.state import STATE_FILE, State
from penstock.ledger.store import Ledger
from penstock.policies.alert_channels import Channel, document, letter, slack, teams
from penstock.policies.alert_delivery import Outbox, listed
from penstock.policies.alerts import Alert, Noted

NOW = datetime(2026, 3, 17, 9, tzinfo=UTC)
"""A Tuesday."""
BUDGET = Allowance(
    scope="everything", per="month", dollars=Decimal(300), hard=True, where=(), each=(), time_zone="UTC",
    since=datetime(2026, 3, 1, tzinfo=UTC), until=datetime(2026, 4, 1, tzinfo=UTC), rolls=False,
)  # fmt: skip
WEEKLY = ScheduledReport(name="weekly", every="week", to=("mail",))
BRIEF = ScheduledReport(name="weekly", every="week", to=("mail",), sections=("spend",))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nine weeks at $10 a day for two teams, $100 more on the 15th of March, and a model without a price."""
    place = tmp_path_factory.mktemp("scheduled")
    events = [
        event(at=NOW - timedelta(days=n, hours=-1), team=team, cost=Decimal("5.000000000000000001"))
        for n in range(63, 0, -1)
        for team in ("red", "<b>blue</b>")
    ]
    events.append(event(at=NOW - timedelta(days=2), team="red", cost=Decimal(100), requests=20))
    events.append(event(at=NOW - timedelta(days=3), team="red", model="brand-new", cost=None))
    with Ledger.open(place) as ledger:
        ledger.add(events, source="test")
    return place


@pytest.fixture
def desk(folder):
    with Ledger.open(folder) as ledger:
        yield Desk(ledger, lambda _at: [BUDGET], lambda _book, _row: None)


@pytest.fixture
def state(tmp_path):
    one = State(tmp_path / STATE_FILE)
    yield one
    one.close()


def test_every_figure_is_the_one_of_the_report(desk):
    edition = newest(WEEKLY, NOW)
    assert edition.label == "2026-W11"
    written = write(desk, WEEKLY, edition, NOW)
    moment = desk.ledger.moment()
    said = counted(moment, by=("model",), since=edition.since, until=edition.until).spend
    before = counted(moment, since=edition.since - timedelta(days=7), until=edition.since).spend
    assert said.total == Decimal("170.000000000000000014")
    assert written.title == "weekly: $170.00, week 11, 2026-03-09 to 2026-03-15"
    for form in (written.text, written.html):
        assert "$170.000000000000000014" in form
        assert "penstock report --by model --from 2026-W11 --to 2026-W11" in form
    assert f"The week before: ${before.total}" in written.text
    assert "- gpt-4o: $170.00 (+$100.00)" in written.text
    assert "- brand-new: unpriced" in written.text
    assert "Without a price, and in no sum above: 1 event\n" in written.text
    assert "- everything per month: $250.00 of $300.00 spent; used up on 2026-03-" in written.text
    assert "Forecast of March 2026: $" in written.text
    assert "2026-03-15: spike of all spend, $110.00 instead of" in written.text
    assert "Change +$100.00: volume" in written.text


def test_what_the_ledger_does_not_hold_is_compared_with_nothing(tmp_path):
    with Ledger.open(tmp_path) as ledger:
        ledger.add(
            [event(at=NOW - timedelta(days=n), team="red", cost=Decimal(5)) for n in range(1, 11)], source="test"
        )
        desk = Desk(ledger, lambda _at: [BUDGET], lambda _book, _row: None)
        written = write(desk, WEEKLY, newest(WEEKLY, NOW), NOW)
    assert "Spent: $35.00, no comparison: the ledger begins on 2026-03-07\n" in written.text
    assert "no comparison: the ledger begins on 2026-03-07" in written.html
    assert "- gpt-4o: $35.00\n" in written.text
    for form in (written.text, written.html):
        assert "There is no whole week before to compare with: the ledger begins on 2026-03-07." in form
        assert "+250" not in form


def test_the_html_is_fit_for_mail_programs(desk):
    written = write(
        desk, ScheduledReport(name="<i>x</i>", every="week", to=("mail",), by="team"), newest(WEEKLY, NOW), NOW
    )
    page = written.html
    for word in ("<script", "<svg", "<style", "<link", "<img", "http:", "https:", "url(", "<b>", "<i>"):
        assert word not in page, word
    assert "&lt;b&gt;blue&lt;/b&gt;" in page
    heights = [int(one) for one in re.findall(r'<td height="(\d+)" bgcolor="#1f6f8b"', page)]
    assert len(heights) == 7
    assert max(heights) == heights[-1] == 96  # Sunday, $110
    assert heights[0] == round(96 * 10 / 110)
    assert len(page) < 100_000  # what Gmail cuts


def test_sections_are_those_that_were_asked_for_and_an_empty_period_is_said(desk):
    only = ScheduledReport(name="few", every="day", to=("mail",), sections=("tokens",), only={"team": "nobody"})
    written = write(desk, only, newest(only, NOW), NOW)
    assert "Spent: $0.00" in written.text
    assert "Forecast" not in written.text
    empty = ScheduledReport(name="none", every="day", to=("mail",), only={"team": "nobody"})
    said = write(desk, empty, newest(empty, NOW), NOW).text
    assert "Nothing was spent." in said
    assert "Forecast: The ledger holds no events of team=nobody" in said


def sent(state: State) -> list[tuple[str, str]]:
    return state.read("SELECT subject, period FROM alerts ORDER BY id")


def test_a_report_is_sent_once_a_period_by_whoever_is_first_and_made_up_for_once(desk, state, tmp_path):
    def at(now: datetime, place: State = state) -> int:
        return send_due(place, [BRIEF], lambda: desk, now)

    assert at(NOW) == 0  # it is new: what was due before is old news
    assert at(datetime(2026, 3, 23, 7, 59, tzinfo=UTC)) == 0
    monday = datetime(2026, 3, 23, 8, tzinfo=UTC)
    others = [State(tmp_path / STATE_FILE) for _ in range(3)]
    counts: list[int] = []
    threads = [threading.Thread(target=lambda one=one: counts.append(at(monday, one))) for one in others]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for one in others:
        one.close()
    assert sorted(counts) == [0, 0, 1]
    assert at(monday + timedelta(days=6)) == 0
    again = State(tmp_path / STATE_FILE)  # a restart, five weeks later
    assert at(monday + timedelta(weeks=5, hours=3), again) == 1
    assert at(monday + timedelta(weeks=5, hours=4), again) == 0
    again.close()
    assert sent(state) == [("weekly", "2026-W12"), ("weekly", "2026-W17")]


def test_a_report_goes_to_its_channels_alone_and_as_they_take_it(desk, state):
    channels = [Channel(name="log", kind="log"), Channel(name="mail", kind="email", to=("a@example.com",),
                sender="p@example.com", smtp_host="mail", severity="critical", kinds=("budget.*",))]  # fmt: skip
    send_due(state, [WEEKLY], lambda: desk, NOW)
    send_due(state, [WEEKLY], lambda: desk, NOW + timedelta(days=7))
    told: list[tuple[str, Noted]] = []
    Outbox(state, channels).deliver(
        now=lambda: NOW + timedelta(days=7), send=lambda one, noted: told.append((one.name, noted))
    )
    [(name, noted)] = told
    assert name == "mail"
    mail = letter(channels[1], noted)
    assert [part.get_content_type() for part in mail.iter_parts()] == ["text/plain", "text/html"]
    assert mail.get_body(("html",)).get_content().strip() == noted.alert.html.strip()
    assert document(noted)["html"] == noted.alert.html
    sections = [block for block in slack(noted)["blocks"] if block["type"] == "section"]
    assert all(0 < len(block["text"]["text"]) <= 3000 for block in sections)
    assert "Spend by model:" in sections[0]["text"]["text"]
    assert "\n\n" in teams(noted)["attachments"][0]["content"]["body"][1]["text"]


def test_long_texts_are_cut_at_their_lines_for_slack():
    alert = Alert(kind="report.day", subject="s", period="p", title="t", text="\n".join(["x" * 100] * 100))
    sections = [b["text"]["text"] for b in slack(Noted(id=1, at=NOW, alert=alert))["blocks"] if b["type"] == "section"]
    assert "\n".join(sections) == alert.text
    assert all(len(one) <= 3000 for one in sections)


WATCH = AnomalyWatch(floor=Decimal(5))


def test_an_anomaly_is_told_once_with_its_cause_and_dollars(desk, state):
    monday = datetime(2026, 3, 16, 0, 5, tzinfo=UTC)
    assert tell_of_anomalies(state, WATCH, desk.ledger, monday) == 1
    assert tell_of_anomalies(state, WATCH, desk.ledger, monday + timedelta(minutes=50)) == 0  # not yet an hour
    assert tell_of_anomalies(state, WATCH, desk.ledger, monday + timedelta(hours=1)) == 0
    [(noted, _)] = listed(state)
    assert (noted.alert.kind, noted.alert.subject, noted.alert.period) == (
        "anomaly.spike", "all spend", "day 2026-03-15",
    )  # fmt: skip
    assert noted.alert.title == "Spike of all spend: +$100.00 on 2026-03-15"
    assert "$110.00 instead of $10.00" in noted.alert.text
    assert "team red $105.00 instead of $5.00" in noted.alert.text
    assert "See: penstock report --by key,model,app,feature --from 2026-03-15T00:00Z" in noted.alert.text


def test_floor_channels_and_how_often_are_set(desk, state):
    monday = datetime(2026, 3, 16, 0, 5, tzinfo=UTC)
    never = AnomalyWatch(every="never")
    assert tell_of_anomalies(state, never, desk.ledger, monday) == 0
    assert tell_of_anomalies(state, AnomalyWatch(floor=Decimal(150)), desk.ledger, monday) == 0
    daily = AnomalyWatch(every="day", floor=Decimal(5), to=("mail",))
    assert tell_of_anomalies(state, daily, desk.ledger, monday + timedelta(hours=20)) == 0
    assert tell_of_anomalies(state, daily, desk.ledger, monday + timedelta(hours=24)) == 1
    assert listed(state)[0][0].alert.channels == ("mail",)


def test_what_an_hour_told_is_not_told_again_of_its_day(desk, state):
    from penstock.policies.alerts import enqueue

    enqueue(state, Alert(kind="anomaly.spike", subject="all spend", period="hour 2026-03-15 10:00", title="", text=""))
    assert tell_of_anomalies(state, WATCH, desk.ledger, datetime(2026, 3, 16, 0, 5, tzinfo=UTC)) == 0


def test_old_news_and_empty_ledgers_ring_no_bell(desk, state, tmp_path):
    assert tell_of_anomalies(state, WATCH, desk.ledger, datetime(2026, 3, 30, tzinfo=UTC)) == 0
    with Ledger.open(tmp_path / "empty") as ledger:
        assert tell_of_anomalies(state, WATCH, ledger, datetime(2026, 4, 30, tzinfo=UTC)) == 0
