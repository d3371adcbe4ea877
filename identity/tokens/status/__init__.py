"""Token Status Lists (draft-ietf-oauth-status-list-21): one bit a token, for verifiers that can do
no more than fetch what may be cached."""
