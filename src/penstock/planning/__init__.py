"""What-if: pure calculators, a dataclass in, a dataclass out. No I/O, no clock."""
