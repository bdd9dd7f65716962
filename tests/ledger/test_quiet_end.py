import subprocess
import sys


def test_a_process_that_used_the_ledger_ends_without_a_word_on_its_screen():
    """The engine counts what is left when Python ends, and prints lines about it that mean nothing to a user."""
    program = "import penstock.ledger.store, penstock.analytics.runs, penstock.analytics.change"
    program += ", penstock.optimization.rightsizing, penstock.optimization.guard"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ended.stderr == ""
