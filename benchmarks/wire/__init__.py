"""The two ends of the wire: a fake upstream and a load client, in C where there is a compiler."""
