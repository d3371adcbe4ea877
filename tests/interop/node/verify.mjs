// Says of each token whether a library takes it. Asked and answered by lines of JSON: from stdin
// {issuer, audience, alg, library, tokens}, to stdout a list with null for what it takes and the
// name of the error for what it refuses. Each library is used as its own documentation shows it.

import { createInterface } from "node:readline";
import { createRemoteJWKSet, jwtVerify } from "jose";
import jsonwebtoken from "jsonwebtoken";
import jwksClient from "jwks-rsa";
import * as oauth from "oauth4webapi";

const libraries = {
  async jose({ issuer, audience, alg, jwksUri }) {
    const keys = createRemoteJWKSet(new URL(jwksUri));
    const options = {
      issuer,
      audience,
      algorithms: [alg],
      typ: "at+jwt",
      requiredClaims: ["exp", "sub", "client_id", "iat", "jti"],
    };
    return async (token) => (await jwtVerify(token, keys, options)).payload;
  },

  async oauth4webapi({ issuer, audience }) {
    const insecure = { [oauth.allowInsecureRequests]: true };
    const at = new URL(issuer);
    const answer = await oauth.discoveryRequest(at, { algorithm: "oauth2", ...insecure });
    const server = await oauth.processDiscoveryResponse(at, answer);
    return async (token) => {
      const request = new Request("http://127.0.0.1/orders", {
        headers: { authorization: `Bearer ${token}` },
      });
      return oauth.validateJwtAccessToken(server, request, audience, insecure);
    };
  },

  async "jwks-rsa"({ issuer, audience, alg, jwksUri }) {
    const client = jwksClient({ jwksUri });
    const getKey = (header, callback) =>
      client.getSigningKey(header.kid, (error, key) => callback(error, key?.getPublicKey()));
    const options = { issuer, audience, algorithms: [alg] };
    return (token) =>
      new Promise((resolve, reject) =>
        jsonwebtoken.verify(token, getKey, options, (error, claims) =>
          error ? reject(error) : resolve(claims),
        ),
      );
  },
};

for await (const line of createInterface({ input: process.stdin })) {
  const asked = JSON.parse(line);
  const jwksUri = `${asked.issuer}/.well-known/jwks.json`;
  const verify = await libraries[asked.library]({ ...asked, jwksUri });
  const answers = [];
  for (const token of asked.tokens) {
    try {
      await verify(token);
      answers.push(null);
    } catch (error) {
      answers.push(`${error.code ?? error.name}: ${error.message}`);
    }
  }
  console.log(JSON.stringify(answers));
}
