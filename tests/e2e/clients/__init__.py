"""Programs: clients that were not written here, each told what to do and printing what it saw."""
