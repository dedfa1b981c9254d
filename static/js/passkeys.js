// Passkeys: forms that the browser fills with what a passkey answers. Without script, or in a browser that keeps none,
// they stay hidden: codes and passwords do the same.
"use strict";

(() => {
  if (!window.PublicKeyCredential?.parseRequestOptionsFromJSON) return;

  const ask = async (form) => {
    const token = form.elements.csrfmiddlewaretoken.value;
    const answer = await fetch(form.dataset.options, { method: "POST", headers: { "X-CSRFToken": token } });
    if (!answer.ok || answer.redirected) throw new Error(`options: ${answer.status}`);
    const options = await answer.json();
    if (options.confirm) { location.href = options.confirm; return null; }
    if (form.dataset.passkey === "create") {
      return navigator.credentials.create({ publicKey: PublicKeyCredential.parseCreationOptionsFromJSON(options.publicKey) });
    }
    return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options.publicKey) });
  };

  const submit = async (event) => {
    event.preventDefault();
    const form = event.target;
    const error = form.querySelector("[data-passkey-error]");
    const button = form.querySelector("button");
    button.disabled = true;
    error.hidden = true;
    try {
      const credential = await ask(form);
      if (!credential) return;
      form.elements.credential.value = JSON.stringify(credential);
      form.submit();
    } catch {
      error.hidden = false;
    } finally {
      button.disabled = false;
    }
  };

  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", submit);
  }
})();
