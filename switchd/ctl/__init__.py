"""`switchd ctl`: `words` are what may stand behind it, `server` is whom it asks."""
