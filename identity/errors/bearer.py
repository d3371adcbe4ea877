"""Errors of access tokens (RFC 6750 §3.1, RFC 9449 §7.1) and their challenges."""

from identity.errors.error import IdentityError


def quoted(text: str) -> str:
    """An HTTP quoted-string (RFC 9110 §5.6.4) of what RFC 6750 §3 allows inside one."""
    return '"' + "".join(c for c in text if " " <= c <= "~" and c not in '"\\') + '"'


class BearerError(IdentityError):
    status, title = 401, "Authentication is required"

    def __init__(
        self, detail: str | None = None, *, scope: str | None = None, audit: str | None = None
    ) -> None:
        super().__init__(detail, audit=audit)
        self.scope = scope
        self.dpop: str | None = None
        """The algorithms of proofs, where the client uses, or may use, the scheme DPoP."""
        self.metadata: str | None = None
        """Where it is told how to get a token for what it asked (RFC 9728 §5.1)."""

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": self.challenge()}

    def challenge(self) -> str:
        challenge = f'{"Bearer" if self.dpop is None else "DPoP"} realm="identity"'
        if self.code != "unauthorized":  # without credentials no error code (RFC 6750 §3.1)
            challenge += f', error="{self.code}", error_description={quoted(self.detail)}'
        if self.scope:
            challenge += f", scope={quoted(self.scope)}"
        if self.metadata is not None:
            challenge += f', resource_metadata="{self.metadata}"'
        if self.dpop is not None:
            challenge += f', algs="{self.dpop}"'
        return challenge


class MissingToken(BearerError):
    """Whoever has sent nothing may choose the scheme."""

    code = "unauthorized"

    def challenge(self) -> str:
        challenge = 'Bearer realm="identity"'
        if self.scope:
            challenge += f", scope={quoted(self.scope)}"
        if self.metadata is not None:
            challenge += f', resource_metadata="{self.metadata}"'
        if self.dpop is not None:
            challenge += f', DPoP algs="{self.dpop}"'
        return challenge


class InvalidToken(BearerError):
    code, title = "invalid_token", "The access token is not valid"


class TokenProofRefused(BearerError):
    code, title = "invalid_dpop_proof", "The DPoP proof is not valid"


class TokenNonceNeeded(BearerError):
    """RFC 9449 §9."""

    code, title = "use_dpop_nonce", "The DPoP proof needs the nonce that comes along"

    def __init__(
        self, detail: str | None = None, *, nonce: str = "", audit: str | None = None
    ) -> None:
        super().__init__(detail, audit=audit)
        self.nonce = nonce

    def headers(self) -> dict[str, str]:
        return {**super().headers(), "DPoP-Nonce": self.nonce}


class InsufficientScope(BearerError):
    status, code, title = 403, "insufficient_scope", "The access token lacks a scope"


class LoginTooOld(BearerError):
    """RFC 9470 §3, but for its status: the token is good, and is not to be thrown away."""

    status, code, title = 403, "insufficient_user_authentication", "Prove again who you are"

    def __init__(
        self,
        detail: str | None = None,
        *,
        max_age: int = 0,
        acr: str | None = None,
        audit: str | None = None,
    ) -> None:
        super().__init__(detail, audit=audit)
        self.max_age = max_age
        self.acr = acr

    def challenge(self) -> str:
        levels = "" if self.acr is None else f', acr_values="{self.acr}"'
        return f'{super().challenge()}{levels}, max_age="{self.max_age}"'
