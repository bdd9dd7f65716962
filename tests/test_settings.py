"""The settings file: what it may say, and what it is told when it says something else."""

import re
from pathlib import Path

import pytest

from penstock.cli.init import TEMPLATE
from penstock.errors import SettingsError
from penstock.settings import Settings, load, missing_keys, parse

PROVIDER = '[[providers]]\nname = "a"\nbase_url = "http://localhost:1/v1"\n'


def test_a_file_that_is_not_there_stands_for_the_defaults(tmp_path):
    assert load(tmp_path / "none.toml") == Settings()


def test_the_folder_named_on_the_command_line_wins(tmp_path):
    file = tmp_path / "penstock.toml"
    file.write_text('[ledger]\ndata = "one"\n')
    assert load(file).data == Path("one")
    assert load(file, data=tmp_path).data == tmp_path


def test_the_template_of_init_is_valid_with_every_comment_taken_off():
    settings = parse(TEMPLATE)
    assert [row.name for row in settings.providers] == ["openai", "anthropic"]
    assert settings.providers[0].base_url == "https://api.openai.com/v1"
    lines = [line.removeprefix("# ") for line in TEMPLATE.splitlines()]
    everything = "\n".join(line for line in lines if "=" in line or line.startswith("["))
    whole = parse(everything)
    assert whole.routes[0].deployments == ("gpt-4o-sweden",)
    assert whole.deployments[0].upstream == "my-gpt-4o"
    assert whole.prices.rows[0]["model"] == "*"


ROUTED = (
    PROVIDER + '[[deployments]]\nname = "d"\nprovider = "a"\nmodel = "m"\n'
    '[[routes]]\nmodel = "r"\ndeployments = ["d"]\n[routes.routing]\n'
)  # fmt: skip


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[server\n", "it is not TOML"),
        (ROUTED + 'default = "e"\n', "routes[0].routing.default: 'e' is none of the route's deployments"),
        (ROUTED + "explore = 2\n", "routes[0].routing.explore: say a share"),
        (ROUTED + "holdout = nan\n", "routes[0].routing.holdout: say a share"),
        (ROUTED + 'holdout = "sNaN"\n', "routes[0].routing.holdout: say a share"),
        (ROUTED + "answer_worth = 0\n", "a good answer is worth more than 0 dollars"),
        (ROUTED + "answer_worth = inf\n", "a good answer is worth more than 0 dollars"),
        (ROUTED + "answer_worht = 1\n", "did you mean `answer_worth`?"),
        (ROUTED + '[routes.routing.cascade]\nform = "("\n', "cascade.form: it is no regular expression"),
        (ROUTED + "[routes.routing.cascade]\nsteps = 9\n", "a call may escalate 1 to 3 times"),
        (ROUTED + "[routes.routing.cascade]\nmin_pass_rate = 80\n", "cascade.min_pass_rate: say a share of answers"),
        (ROUTED + "[routes.routing.cascade]\nmin_pass_rate = nan\n", "cascade.min_pass_rate: say a share of answers"),
        (ROUTED + "[routes.routing.cascade]\nmin_logprob = 0.5\n", "cascade.min_logprob: a logprob is below 0"),
        (ROUTED + '[routes.routing.classifier]\ndeployment = "d"\nmode = "of"\n', "'of'; say one of: on, shadow"),
        (ROUTED.replace("[routes.routing]", "retries = -1"), "routes[0].retries: attempts after the first are 0"),
        (ROUTED + '[[budgets]]\ndollars = 5\nscope = "model=r"\n', "budgets[0]: the scope 'model=r' names a route"),
        ("[governance]\nlease_seconds = nan\n", "governance.lease_seconds: a lease lasts from 1 second"),
        ("[governance]\nredis_timeout = nan\n", "governance.redis_timeout"),
        (ROUTED + '[routes.routing.classifier]\ndeployment = "e"\n', "there is no deployment 'e'"),
        (ROUTED + '[routes.routing.classifier]\ndeployment = "d"\ntimeout_ms = 0\n', "at least 1"),
        (ROUTED.replace('"m"', '"m"\ncan = ["fly"]'), "'fly' is not known; say some of: audio, files"),
        ("[server]\nprot = 1\n", "did you mean `port`?"),
        ('[server]\nport = "x"\n', "server.port"),
        ("[server]\nport = 70000\n", "a port is a number from 1 to 65535"),
        ("[server]\nworkers = 0\n", "at least one worker"),
        ("[metrics]\nmost_values = 0\n", "metrics.most_values: there must be room for at least 1"),
        ('[metrics]\nlabels = ["tema"]\n', "metrics.labels[0]: Invalid enum value 'tema'; say one of: app, "),
        ('[ledger]\nfsync = "often"\n', "ledger.fsync"),
        ('[[providers]]\nname = "a"\n[[providers]]\nname = "a"\n', "there are two rows for 'a'"),
        ('[[providers]]\nname = "a"\nkind = "azure"\n', "say where 'a' is"),
        ('[[providers]]\nname = "a"\nbase_url = "localhost:1"\n', "must look like https://"),
        (PROVIDER + '[[deployments]]\nname = "d"\nprovider = "b"\nmodel = "m"\n', "there is no provider 'b'"),
        (PROVIDER + '[[routes]]\nmodel = "m"\ndeployments = []\n', "name at least one deployment"),
        (PROVIDER + '[[deployments]]\nname = "dep-one"\nprovider = "a"\nmodel = "m"\n[[routes]]\nmodel = "m"\n'
         'deployments = ["dep-on"]\n', "did you mean 'dep-one'?"),
        ('[[providers]]\nname = "a"\napi_key = "sk-x"\n', "secrets do not stand in this file"),
        (PROVIDER + 'api_key_env = "A"\napi_key_file = "b"\n', "in a variable or in a file, not in both"),
        ('[keys]\nrequired = "yes"\n', "keys.required"),
        ("[keys]\nrequire = true\n", "did you mean `required`?"),
        ('[[alerts]]\nname = "x"\nkind = "pager"\n', "'pager'; say one of: email, log, slack, teams, webhook"),
        ('[[alerts]]\nname = "x"\nkind = "log"\nkinds = ["budgets.*"]\n', "alerts[0].kinds: no alert is of the kind"),
        ('[[alerts]]\nname = "x"\nkind = "slack"\n', "alerts[0].url_env"),
        ('[[alerts]]\nname = "x"\nkind = "log"\n[[alerts]]\nname = "x"\nkind = "log"\n', "two rows for 'x'"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_place(text, said):
    with pytest.raises(SettingsError) as caught:
        parse(text, "my.toml")
    assert "my.toml" in str(caught.value)
    assert said in str(caught.value)


def test_bytes_that_are_no_text_are_said_to_be_none(tmp_path):
    file = tmp_path / "penstock.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match="not UTF-8"):
        load(file)


def test_keys_that_are_named_and_missing_are_found():
    settings = parse(PROVIDER + 'api_key_env = "A_KEY"\n')
    assert missing_keys(settings, {}) == [("a", "A_KEY")]
    assert missing_keys(settings, {"A_KEY": "x"}) == []


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ("ptus = 0", "ptus: 0 is none at all"), ("to = 2026-02-01", "2026-02-01 is before 2026-03-01"),
        ('model = "gpt-2"', "cannot be provisioned"), ("dollars_per_month = 0", "a price is more than 0"),
    ],
)  # fmt: skip
def test_a_commitment_that_cannot_be_is_one_sentence(row, sentence):
    said = {"model": 'model = "gpt-4.1"', "ptus": "ptus = 50", "from": "from = 2026-03-01"}
    said[row.split()[0]] = row
    text = "\n".join(["[[commitments]]", 'name = "reserved"', *said.values()])
    with pytest.raises(SettingsError, match=re.escape(sentence)) as error:
        parse(text)
    assert "commitments[0]" in str(error.value)
