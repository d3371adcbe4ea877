// Passkeys. Whatever else these pages do, they do without this script.
"use strict";
(() => {
  const form = document.querySelector("form[data-passkey]");
  const own = document.querySelector("[data-passkey-keep]");
  const able = window.PublicKeyCredential && navigator.credentials;
  if (!able) return;

  const octets = (text) =>
    Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0));
  const text = (buffer) =>
    btoa(String.fromCharCode(...new Uint8Array(buffer)))
      .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
  const keys = (list) => list.map((each) => ({ ...each, id: octets(each.id) }));

  // Devices hear which passkeys are still good (WebAuthn 3 §5.1.10).
  const signal = (name, said) =>
    PublicKeyCredential[name] && PublicKeyCredential[name](said).catch(() => {});
  if (own) {
    const { rpId, userId, name, displayName, ids } = JSON.parse(own.dataset.passkeyKeep);
    signal("signalAllAcceptedCredentials", { rpId, userId, allAcceptedCredentialIds: ids });
    signal("signalCurrentUserDetails", { rpId, userId, name, displayName });
  }
  if (!form) return;

  const options = JSON.parse(form.dataset.options);
  const makes = form.dataset.passkey === "create";
  options.challenge = octets(options.challenge);
  if (makes) {
    options.user.id = octets(options.user.id);
    options.excludeCredentials = keys(options.excludeCredentials);
  } else {
    options.allowCredentials = keys(options.allowCredentials);
    if (form.dataset.unknown)
      signal("signalUnknownCredential", { rpId: options.rpId, credentialId: form.dataset.unknown });
  }

  const told = ({ id, type, response, authenticatorAttachment }) => ({
    id, rawId: id, type, authenticatorAttachment, clientExtensionResults: {},
    response: makes
      ? {
          clientDataJSON: text(response.clientDataJSON),
          attestationObject: text(response.attestationObject),
          transports: response.getTransports ? response.getTransports() : [],
        }
      : {
          clientDataJSON: text(response.clientDataJSON),
          authenticatorData: text(response.authenticatorData),
          signature: text(response.signature),
          userHandle: response.userHandle ? text(response.userHandle) : undefined,
        },
  });
  const send = (credential) => {
    form.elements.credential.value = JSON.stringify(told(credential));
    form.submit();
  };
  const say = (name) => {
    for (const each of form.querySelectorAll("[data-when]")) each.hidden = each.dataset.when !== name;
  };

  let waiting = null;
  const ask = async () => {
    if (waiting) waiting.abort();
    waiting = null;
    say("");
    const asked = { publicKey: options };
    try {
      send(await (makes ? navigator.credentials.create(asked) : navigator.credentials.get(asked)));
    } catch (error) {
      say(error.name === "InvalidStateError" ? "there" : "failed");
      offer();
    }
  };
  // Passkeys among what the browser fills in, for whoever looks there first.
  const offer = async () => {
    const offers = PublicKeyCredential.isConditionalMediationAvailable;
    if (!("autofill" in form.dataset) || !offers || !(await offers.call(PublicKeyCredential))) return;
    waiting = new AbortController();
    try {
      const asked = { publicKey: options, mediation: "conditional", signal: waiting.signal };
      send(await navigator.credentials.get(asked));
    } catch (error) {
      if (error.name !== "AbortError") waiting = null;
    }
  };

  // A page that has lain open for long asks for what is no longer taken.
  const late = Date.now() + 50 * 60 * 1000;
  document.addEventListener("visibilitychange", () => {
    const typed = [...document.querySelectorAll("input:not([type=hidden])")];
    const untouched = typed.every((field) => field.value === field.defaultValue);
    if (!document.hidden && Date.now() > late && untouched && "autofill" in form.dataset)
      location.reload();
  });

  form.hidden = false;
  for (const each of form.querySelectorAll("[data-able]")) each.hidden = false;
  for (const each of form.querySelectorAll("[data-unable]")) each.hidden = true;
  form.addEventListener("submit", (event) => {
    if (!event.submitter || !("passkeyAsk" in event.submitter.dataset)) return;
    event.preventDefault();
    ask();
  });
  offer();
})();
