// Orders: a sibling service on node.
//
//     ISSUER=http://127.0.0.1:8000 PORT=8003 npm start

import { createServer } from "node:http";
import { isClient, Refused, verifier } from "./identity.mjs";

const { ISSUER = "http://127.0.0.1:8000", AUDIENCE = "https://orders.example.com" } = process.env;
const verify = verifier({ issuer: ISSUER, audience: AUDIENCE });

createServer(async (request, response) => {
  try {
    const claims = await verify(request.headers.authorization, "orders:read");
    // Orders are people's; a client that acts for itself has none, whatever it is called.
    if (isClient(claims)) return answer(response, 403, { error: "access_denied" });
    answer(response, 200, { orders: [], of: claims.username });
  } catch (error) {
    if (!(error instanceof Refused)) {
      console.error(error);
      return answer(response, 500, { error: "server_error" });
    }
    if (error.status === 503) response.setHeader("Retry-After", "1");
    else response.setHeader("WWW-Authenticate", error.challenge);
    answer(response, error.status, { error: error.error, error_description: error.message });
  }
}).listen(Number(process.env.PORT ?? 8003), "127.0.0.1");

function answer(response, status, body) {
  response.setHeader("Content-Type", "application/json");
  response.writeHead(status).end(JSON.stringify(body));
}
