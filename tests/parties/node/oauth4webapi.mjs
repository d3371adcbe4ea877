// oauth4webapi as its documentation shows it, told what to do as openid-client.mjs is.

import { createInterface } from "node:readline/promises";
import * as oauth from "oauth4webapi";

const { ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, AFTER } = process.env;
const loopback = { [oauth.allowInsecureRequests]: true };
const issuer = new URL(ISSUER);
const found = await oauth.discoveryRequest(issuer, loopback);
const as = await oauth.processDiscoveryResponse(issuer, found);
const client = { client_id: CLIENT_ID };
const proof = oauth.ClientSecretBasic(CLIENT_SECRET);
const verifier = oauth.generateRandomCodeVerifier();
const [state, nonce] = [oauth.generateRandomState(), oauth.generateRandomNonce()];
const go = new URL(as.authorization_endpoint);
const asked = {
  client_id: CLIENT_ID,
  redirect_uri: REDIRECT_URI,
  response_type: "code",
  scope: "openid profile email",
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
  nonce,
};
for (const [name, value] of Object.entries(asked)) go.searchParams.set(name, value);
console.log(JSON.stringify({ go: go.href }));
const lines = createInterface({ input: process.stdin });
const back = new URL((await lines[Symbol.asyncIterator]().next()).value);
lines.close();
const answer = oauth.validateAuthResponse(as, client, back, state);
const granted = await oauth.authorizationCodeGrantRequest(
  as, client, proof, answer, REDIRECT_URI, verifier, loopback,
);
const tokens = await oauth.processAuthorizationCodeResponse(as, client, granted, {
  expectedNonce: nonce,
  requireIdToken: true,
});
await oauth.validateApplicationLevelSignature(as, granted, loopback);
const { sub } = oauth.getValidatedIdTokenClaims(tokens);
const told = await oauth.userInfoRequest(as, client, tokens.access_token, loopback);
const userinfo = await oauth.processUserInfoResponse(as, client, sub, told);
const renewed = await oauth.refreshTokenGrantRequest(
  as, client, proof, tokens.refresh_token, loopback,
);
const refreshed = await oauth.processRefreshTokenResponse(as, client, renewed);
const leave = new URL(as.end_session_endpoint);
leave.searchParams.set("id_token_hint", refreshed.id_token);
leave.searchParams.set("post_logout_redirect_uri", AFTER);
console.log(
  JSON.stringify({
    sub,
    userinfo,
    again: oauth.getValidatedIdTokenClaims(refreshed).sub,
    leave: leave.href,
  }),
);
