// Verifies an identity service's access tokens with its published keys (RFC 9068), and learns of
// revocations from its Token Status Lists. It needs no credentials, and nothing but GETs.

import { promisify } from "node:util";
import { inflate } from "node:zlib";
import { createRemoteJWKSet, errors, jwtVerify } from "jose";

const ALGORITHMS = ["ES256", "RS256", "PS256", "EdDSA"];
const CLOCKS_DIFFER = 30; // seconds
const LARGEST_LIST = 16 * 1024 * 1024;
const unpack = promisify(inflate);

/** `status`, `error` and `scope` are what RFC 6750 §3 tells the client. */
export class Refused extends Error {
  constructor(status, error, message, { scope, cause } = {}) {
    super(message, { cause });
    Object.assign(this, { status, error, scope });
  }

  get challenge() {
    const said = [];
    if (this.error) said.push(`error="${this.error}"`);
    if (this.scope) said.push(`scope="${this.scope}"`);
    return said.length ? `Bearer ${said.join(", ")}` : "Bearer";
  }
}

/** A function `verify(authorization, ...scopes)` that gives the claims or throws `Refused`. */
export function verifier({ issuer, audience }) {
  const keys = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`), {
    cacheMaxAge: 5 * 60_000, // as long as the service lets it be cached
    cooldownDuration: 5_000,
  });
  const lists = new StatusLists(keys);

  return async function verify(authorization, ...scopes) {
    const token = /^bearer +(\S+) *$/i.exec(authorization ?? "")?.[1];
    const scope = scopes.join(" ");
    if (!token) throw new Refused(401, undefined, "an access token is needed", { scope });
    const claims = await signed(token, keys, {
      issuer,
      audience,
      typ: "at+jwt",
      requiredClaims: ["exp", "sub", "client_id", "iat", "jti"],
    });
    if (!(await lists.isValid(claims.status?.status_list))) {
      throw new Refused(401, "invalid_token", "the access token was revoked");
    }
    const held = new Set((claims.scope ?? "").split(" "));
    if (!scopes.every((each) => held.has(each))) {
      throw new Refused(403, "insufficient_scope", "the token may not do this", { scope });
    }
    return claims;
  };
}

/** Whether a client acts for itself: `sub` is that client, and no user is behind it. */
export const isClient = (claims) => claims.sid === undefined && claims.sub === claims.client_id;

async function signed(token, keys, options) {
  try {
    const all = { algorithms: ALGORITHMS, clockTolerance: CLOCKS_DIFFER, ...options };
    return (await jwtVerify(token, keys, all)).payload;
  } catch (cause) {
    const theirs = cause instanceof errors.JOSEError && cause.code !== "ERR_JWKS_TIMEOUT";
    // A plain JOSEError says that the key set did not come: no fault of the token.
    if (theirs && cause.code !== "ERR_JOSE_GENERIC") {
      throw new Refused(401, "invalid_token", "the access token is not valid", { cause });
    }
    throw unavailable(cause);
  }
}

const unavailable = (cause) =>
  new Refused(503, "temporarily_unavailable", "tokens cannot be checked at the moment", { cause });

/** draft-ietf-oauth-status-list: each list is fetched when a token names it, and again when its
 * `ttl` is over; requests that need it meanwhile wait for the same fetch. */
class StatusLists {
  #keys;
  #lists = new Map();

  constructor(keys) {
    this.#keys = keys;
  }

  async isValid(reference) {
    if (typeof reference?.uri !== "string" || !Number.isSafeInteger(reference.idx)) return false;
    const { bits, octets } = await this.#list(reference.uri);
    const place = reference.idx * bits;
    const octet = octets[Math.floor(place / 8)]; // undefined beyond the end
    return octet !== undefined && ((octet >> place % 8) & ((1 << bits) - 1)) === 0;
  }

  async #list(uri) {
    let kept = this.#lists.get(uri);
    if (!kept || (kept.until <= performance.now() && !kept.fetching)) {
      kept = { until: 0, fetching: this.#fetch(uri, kept) };
      this.#lists.set(uri, kept);
      kept.fetching.then(
        (list) => this.#lists.set(uri, list),
        () => this.#lists.delete(uri),
      );
    }
    return kept.fetching ?? kept;
  }

  async #fetch(uri, before) {
    const asked = performance.now();
    try {
      const headers = { accept: "application/statuslist+jwt" };
      if (before?.etag) headers["if-none-match"] = before.etag;
      const answer = await fetch(uri, { headers, signal: AbortSignal.timeout(5_000) });
      if (answer.status === 304) return { ...before, until: asked + before.ttl * 1000 };
      if (!answer.ok) throw new Error(`${uri} answers ${answer.status}`);
      const list = await signed(await answer.text(), this.#keys, {
        subject: uri,
        typ: "statuslist+jwt",
        requiredClaims: ["iat", "status_list"],
      });
      const { bits, lst } = list.status_list;
      if (![1, 2, 4, 8].includes(bits)) throw new Error("a status has 1, 2, 4 or 8 bits");
      const packed = Buffer.from(lst, "base64url");
      const octets = await unpack(packed, { maxOutputLength: LARGEST_LIST });
      const ttl = list.ttl ?? 60;
      const etag = answer.headers.get("etag");
      return { bits, octets, ttl, etag, until: asked + ttl * 1000 };
    } catch (cause) {
      throw unavailable(cause);
    }
  }
}
