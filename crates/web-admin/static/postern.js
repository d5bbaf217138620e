// What lives on the pages: everything else works without this file.
"use strict";

// A button copies the text of the element that it names.
for (const button of document.querySelectorAll("[data-copy]")) {
  const source = document.getElementById(button.dataset.copy);
  if (!source || !navigator.clipboard) continue;
  button.hidden = false;
  const label = button.textContent;
  button.addEventListener("click", async () => {
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(source.textContent);
    } catch {
      getSelection().selectAllChildren(source);
      said = "Press Ctrl+C";
    }
    button.textContent = said;
    setTimeout(() => { button.textContent = label; }, 2000);
  });
}

// A page that waits for something asks for its state, and is loaded again when that is over.
for (const waiting of document.querySelectorAll("[data-wait]")) {
  const look = async () => {
    let state = "waiting";
    try {
      const answer = await fetch(waiting.dataset.wait, { cache: "no-store" });
      state = answer.ok ? await answer.text() : "over";
    } catch { /* the network: looked at again */ }
    if (state === "over") location.reload();
    else setTimeout(look, 1500);
  };
  setTimeout(look, 1500);
}

// The server's fields show what the chosen token config or provider would fill in.
for (const form of document.querySelectorAll("form.form")) {
  const [host, port] = [form.elements.host, form.elements.port];
  if (!host || !port) continue;
  const show = () => {
    const by = form.querySelector('input[name="auth"]:checked')?.value;
    const chosen = form.elements[by === "token" ? "auth.token" : "template"]?.selectedOptions?.[0];
    const protocol = form.elements.protocol?.value ?? "smtp";
    const [name = "", number = ""] = (chosen?.dataset[protocol] ?? "").split(" ");
    host.placeholder = name;
    port.placeholder = number;
  };
  form.addEventListener("change", show);
  show();
}

// What goes on is shown as it happens; when the connection is lost, the page is loaded again.
for (const place of document.querySelectorAll("[data-events]")) {
  const events = new EventSource(place.dataset.events);
  const show = (event) => { place.innerHTML = event.data; };
  events.addEventListener("steps", show);
  events.addEventListener("over", (event) => { show(event); events.close(); });
  events.onerror = () => { events.close(); setTimeout(() => location.reload(), 1000); };
}

// A part of a page that is sent again whenever it changes.
for (const live of document.querySelectorAll("[data-live]")) {
  const source = new EventSource(live.dataset.live);
  source.addEventListener("page", event => {
    const at = live.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    live.innerHTML = event.data;
    const again = at && [...live.querySelectorAll("a")].find(link => link.getAttribute("href") === at);
    if (again) again.focus();
  });
}
