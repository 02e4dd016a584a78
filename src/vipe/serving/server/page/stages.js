// How looking at a video goes on: uploading, decoding, encoding, merging, writing the weights.

import { byId, bytes, count, make } from "./dom.js";

const STAGES = [
  ["uploading", "Uploading"],
  ["decoding", "Decoding"],
  ["encoding", "Encoding"],
  ["merging", "Merging"],
  ["writing", "Writing the weights"],
];

export class Stages {
  #rows = new Map();
  #now = 0;

  /** Shows that a file is on its way; `cancel` gives it up. */
  begin(name, cancel) {
    byId("progress").hidden = false;
    byId("progress-title").textContent = name;
    byId("cancel").hidden = false;
    byId("cancel").onclick = cancel;
    this.#rows.clear();
    byId("stages").replaceChildren(...STAGES.map(([stage, text]) => {
      const detail = make("span");
      const row = make("li", {}, text, detail);
      this.#rows.set(stage, { row, detail });
      return row;
    }));
    this.#now = 0;
    this.#at("uploading");
    byId("bar").value = 0;
  }

  /** Takes an event of `api.see`. */
  told(event) {
    switch (event.stage) {
      case "uploading":
        this.#say("uploading", `${bytes(event.done)} of ${bytes(event.of)}`, event.done / event.of);
        break;
      case "received":
        this.#at("decoding");
        byId("cancel").hidden = true; // it is looked at to the end
        this.#say("uploading", bytes(event.bytes), 1);
        this.#say("decoding", "waits for its turn", 0);
        break;
      case "decoding":
      case "encoding":
        this.#at(event.stage);
        this.#say(event.stage, `${event.done} of ${count(event.of, "frame")}`, event.done / event.of);
        if (event.stage === "encoding" && event.done === event.of) this.#at("merging");
        break;
      case "merged":
        this.#at("writing");
        this.#say("merging", `${count(event.patches, "patch", "patches")} to ` +
          count(event.tokens, "token"), 1);
        break;
      case "seen":
        this.#at(null);
        break;
    }
  }

  /** Takes the progress away. */
  end() {
    byId("progress").hidden = true;
  }

  /** Moves on to a stage, never back: frames are decoded while others are encoded. */
  #at(stage) {
    const place = stage === null ? STAGES.length : STAGES.findIndex(([name]) => name === stage);
    this.#now = Math.max(this.#now, place);
    STAGES.forEach(([name], at) => {
      this.#rows.get(name).row.dataset.state =
        at < this.#now ? "done" : at === this.#now ? "doing" : "to do";
    });
  }

  #say(stage, text, share) {
    this.#rows.get(stage).detail.textContent = text;
    const at = STAGES.findIndex(([name]) => name === stage);
    byId("bar").value = Math.max(byId("bar").value, (at + share) / STAGES.length);
  }
}
