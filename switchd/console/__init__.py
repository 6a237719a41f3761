"""The console: a page for people who would rather look than read, on the private listener.

`page` serves it, `feed` keeps it up to date through a WebSocket, `history` and `recent` remember the last minutes, and
`keys` says who may close connections from it. What it shows comes from `switchd.overview`.
"""
