"""Pages that links in mails lead to, and that ask for such a mail."""
