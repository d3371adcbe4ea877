"""Mails: written into the outbox in the transaction of what they tell of (`outbox`), put into words
(`wording`, one folder a mail in `templates/`) and sent (`sending`) by whichever process takes
them, and what follows from their links (`links`). Decisions 58 and 59."""
