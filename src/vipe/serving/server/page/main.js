// Puts the page together.

import { get, useKey } from "./api.js";
import { Conversation } from "./conversation.js";
import { byId } from "./dom.js";
import { MergeMap } from "./merge-map.js";
import { Videos } from "./videos.js";

/** Shows an error in its place, or takes it away; a wrong key is also told at the key. */
const shown = (place) => (error) => {
  byId(place).textContent = error ? sentence(error.message) : "";
  if (error?.status === 401) byId("key").focus();
};

const sentence = (text) =>
  text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".");

function askForKey() {
  byId("key-form").hidden = false;
  byId("key-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    useKey(byId("key").value.trim());
    try {
      await get("/v1/models");
      byId("key-note").textContent = "The key is right. It stays in this tab.";
    } catch (error) {
      byId("key-note").textContent = sentence(error.message);
    }
  });
}

async function main() {
  const settings = await (await get("/page/settings")).json();
  byId("version").textContent = `ViPE ${settings.version}`;
  if (settings.needs_key) askForKey();
  const conversation = new Conversation(shown("ask-error"));
  new Videos(
    settings,
    new MergeMap(),
    (videos, question) => conversation.about(videos, question),
    shown("see-error"),
  );
  document.documentElement.dataset.ready = "true";
}

main().catch(shown("see-error"));
