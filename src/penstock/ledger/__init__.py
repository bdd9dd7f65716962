"""The book: append-only events, rollups, importers, exporters, the storage engines."""
