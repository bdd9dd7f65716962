"""What can go wrong with a benchmark, apart from a slow result."""


class BenchmarkError(Exception):
    """A program could not be built, started or asked; the sentence says which and why."""
