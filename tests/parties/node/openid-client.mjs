// openid-client as its documentation shows it: prints where to send the browser, reads the address
// that it came back to, prints what it knows of the person.

import { createInterface } from "node:readline/promises";
import * as client from "openid-client";

const { ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, AFTER } = process.env;
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, CLIENT_SECRET, undefined, {
  execute: [client.allowInsecureRequests], // http on loopback
});
const pkceCodeVerifier = client.randomPKCECodeVerifier();
const [expectedState, expectedNonce] = [client.randomState(), client.randomNonce()];
const go = client.buildAuthorizationUrl(config, {
  redirect_uri: REDIRECT_URI,
  scope: "openid profile email",
  code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
  code_challenge_method: "S256",
  state: expectedState,
  nonce: expectedNonce,
});
console.log(JSON.stringify({ go: go.href }));
const lines = createInterface({ input: process.stdin });
const back = (await lines[Symbol.asyncIterator]().next()).value;
lines.close();
const tokens = await client.authorizationCodeGrant(config, new URL(back), {
  pkceCodeVerifier,
  expectedState,
  expectedNonce,
  idTokenExpected: true,
});
const { sub } = tokens.claims();
const userinfo = await client.fetchUserInfo(config, tokens.access_token, sub);
const refreshed = await client.refreshTokenGrant(config, tokens.refresh_token);
const leave = client.buildEndSessionUrl(config, {
  post_logout_redirect_uri: AFTER,
  id_token_hint: refreshed.id_token,
});
console.log(JSON.stringify({ sub, userinfo, again: refreshed.claims().sub, leave: leave.href }));
