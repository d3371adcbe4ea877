// A single page whose people sign in with Identity: no library, no server of its own.
// Tokens live in this page's memory alone: what a script could read from storage, it could take.

const ISSUER = "http://127.0.0.1:8000";
const CLIENT_ID = "single-page";
const HERE = location.origin + location.pathname;

const base64url = (octets) =>
  btoa(String.fromCharCode(...octets)).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const digest = async (text) =>
  base64url(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text))));

const metadata = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
let tokens = null;

async function signIn() {
  const waiting = { state: random(), nonce: random(), verifier: random() };
  sessionStorage.setItem("waiting", JSON.stringify(waiting)); // until the browser is back
  const asked = new URLSearchParams({
    response_type: "code",
    client_id: CLIENT_ID,
    redirect_uri: HERE,
    scope: "openid profile email",
    state: waiting.state,
    nonce: waiting.nonce,
    code_challenge: await digest(waiting.verifier),
    code_challenge_method: "S256",
  });
  location.assign(`${metadata.authorization_endpoint}?${asked}`);
}

async function signedIn(answer) {
  const waiting = JSON.parse(sessionStorage.getItem("waiting") ?? "{}");
  sessionStorage.removeItem("waiting"); // good once
  history.replaceState(null, "", HERE); // no code stays in the address
  if (!waiting.state || answer.get("state") !== waiting.state) throw new Error("not our state");
  if (answer.get("iss") !== metadata.issuer) throw new Error("not our issuer");
  if (answer.has("error")) throw new Error(answer.get("error"));
  const got = await fetch(metadata.token_endpoint, {
    method: "POST",
    body: new URLSearchParams({
      grant_type: "authorization_code",
      client_id: CLIENT_ID,
      code: answer.get("code"),
      redirect_uri: HERE,
      code_verifier: waiting.verifier,
    }),
  });
  if (!got.ok) throw new Error((await got.json()).error);
  const received = await got.json();
  // It came from the token endpoint itself over TLS (OpenID Connect Core §3.1.3.7): the claims
  // are still to be the ones that this page asked for.
  const claims = JSON.parse(
    new TextDecoder().decode(
      Uint8Array.from(
        atob(received.id_token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")),
        (each) => each.charCodeAt(0),
      ),
    ),
  );
  if (claims.iss !== metadata.issuer || claims.aud !== CLIENT_ID) throw new Error("not for us");
  if (claims.nonce !== waiting.nonce) throw new Error("not our nonce");
  tokens = received;
}

async function whoIsIt() {
  const headers = { authorization: `Bearer ${tokens.access_token}` };
  return (await fetch(metadata.userinfo_endpoint, { headers })).json();
}

function signOut() {
  const asked = new URLSearchParams({
    id_token_hint: tokens.id_token,
    post_logout_redirect_uri: HERE,
  });
  location.assign(`${metadata.end_session_endpoint}?${asked}`);
}

const who = document.getElementById("who");
document.getElementById("sign-in").addEventListener("click", signIn);
document.getElementById("sign-out").addEventListener("click", signOut);
const answer = new URLSearchParams(location.search);
if (answer.has("state")) {
  try {
    await signedIn(answer);
    const person = await whoIsIt();
    who.textContent = person.name ?? person.sub;
    document.getElementById("sign-in").hidden = true;
    document.getElementById("sign-out").hidden = false;
  } catch (refused) {
    who.textContent = `Not signed in: ${refused.message}`;
  }
}
