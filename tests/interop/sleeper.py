"""A sibling as a process of its own, which a test may put to sleep: reads tokens, a line each, and
answers `taken` or the name of the error. Arguments: issuer, audience, client, secret, bound."""

import sys

from identity.verifier import SyncVerifier, TokenRefused

issuer, audience, client_id, client_secret, bound = sys.argv[1:]
with SyncVerifier(
    issuer,
    audience,
    client_id=client_id,
    client_secret=client_secret,
    max_staleness=float(bound),
) as verifier:
    for line in sys.stdin:
        try:
            verifier.verify(line.strip())
        except TokenRefused as refused:
            print(type(refused).__name__, flush=True)
        else:
            print("taken", flush=True)
