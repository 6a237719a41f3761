"""What HTTP/2 is made of, without I/O. One is chosen in `switchd.engine`; nothing else imports what is in here."""
