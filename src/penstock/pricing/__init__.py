"""What a thing costs: units, dated price books (data files), usage x price -> cost. Pure: no I/O, no clock."""
