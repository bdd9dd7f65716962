"""What holds for every test."""

from hypothesis import settings

# A run of one commit says the same thing every time; `make search` looks further, elsewhere each time.
# How long a test takes says nothing about right and wrong, and machines are busy.
settings.register_profile("same", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None, max_examples=400)
settings.load_profile("same")
