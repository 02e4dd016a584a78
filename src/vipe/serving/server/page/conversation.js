// Questions and answers: several turns about the videos that are chosen, each answer as it comes.

import { ask } from "./api.js";
import { byId, make, operations, rounded, seconds } from "./dom.js";

export class Conversation {
  #videos = [];
  #messages = [];
  #running = null; // gives up the answer that is being written
  #failed;

  /** `failed` is called with what went wrong, or null. */
  constructor(failed) {
    this.#failed = failed;
    byId("ask-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    byId("question").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        byId("ask-form").requestSubmit();
      }
    });
    byId("stop").addEventListener("click", () => this.#running?.abort());
    byId("fresh").addEventListener("click", () => {
      this.about(this.#videos);
      byId("question").focus();
    });
  }

  /** Begins a conversation about some videos; what was said about others stays to be read. */
  about(videos, question = "") {
    this.#running?.abort();
    this.#videos = videos;
    this.#messages = [];
    this.#suggest(question);
    this.#offer();
  }

  /** Offers questions to begin with. */
  #suggest(question) {
    const things = this.#videos.length > 1 ? "videos" : "video";
    const texts = new Set([question, `What is in the ${things}?`, `Describe the ${things}.`]);
    texts.delete("");
    byId("suggestions").replaceChildren(...[...texts].map((text) => make("button", {
      type: "button",
      textContent: text,
      onclick: () => {
        byId("question").value = text;
        byId("question").focus(); // the button is about to go
        byId("ask-form").requestSubmit();
      },
    })));
  }

  async #ask() {
    const box = byId("question");
    const question = box.value.trim();
    if (!question || !this.#videos.length || this.#running) return;
    this.#failed(null);
    const before = this.#messages;
    const messages = [...before, { role: "user", content: question }];
    const turn = this.#turn(question, before.length === 0);
    const running = this.#running = new AbortController();
    box.value = "";
    this.#offer();
    let text = "";
    try {
      for await (const piece of ask(messages, this.#videos.map(({ id }) => id), running.signal)) {
        if (piece.text) turn.answer.textContent = text += piece.text;
        if (piece.usage) turn.row.append(costTable(piece.usage));
      }
      if (!text) turn.answer.textContent = "(The answer is empty.)";
    } catch (error) {
      if (error.name !== "AbortError") {
        this.#failed(error);
        if (!text) {
          turn.row.remove();
          box.value ||= question;
        }
      }
    } finally {
      turn.answer.setAttribute("aria-busy", "false");
      this.#running = null;
      // Unless another conversation was begun meanwhile.
      if (text && this.#messages === before) {
        this.#messages = [...messages, { role: "assistant", content: text }];
      }
      this.#offer();
    }
  }

  #turn(question, first) {
    if (first) {
      const names = this.#videos.map(({ filename }) => filename).join(" and ");
      byId("turns").append(make("li", { className: "about" }, `About ${names}`));
    }
    const answer = make("p", { className: "answer", "aria-live": "polite", "aria-busy": "true" });
    const row = make("li", {}, make("p", { className: "asked" }, question), answer);
    byId("turns").append(row);
    return { row, answer };
  }

  /** Shows what can be done now. */
  #offer() {
    const busy = this.#running !== null;
    byId("ask").disabled = busy || this.#videos.length === 0;
    byId("ask").hidden = busy;
    byId("stop").hidden = !busy;
    byId("fresh").hidden = busy || this.#messages.length === 0;
    byId("suggestions").hidden = busy || this.#messages.length > 0 || this.#videos.length === 0;
  }
}

/** What an answer cost, beside what it would cost to read every patch as a token. */
function costTable({ prompt_tokens, prompt_tokens_details, cost }) {
  const { twin } = cost;
  const most = Math.max(cost.operations ?? 0, twin.operations ?? 0);
  const cell = (number, note = "") => {
    if (number === null) return make("td", {}, "not counted");
    const bar = make("i");
    bar.style.width = `${(100 * number) / most}%`;
    return make("td", {}, operations(number), note, bar);
  };
  const row = (own, name, tokens, visual, work, note) => make("tr", { className: own ? "own" : "" },
    make("th", { scope: "row" }, name),
    make("td", {}, tokens.toLocaleString("en")),
    make("td", {}, visual.toLocaleString("en")),
    cell(work, note));
  const times = cost.operations ? ` (${rounded(twin.operations / cost.operations)} ×)` : "";
  const heads = ["To the first token", "Prompt tokens", "of them visual", "Operations"];
  return make("table", { className: "cost" },
    make("thead", {}, make("tr", {}, ...heads.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {},
      row(true, `ViPE, in ${seconds(cost.first_token_seconds)}`, prompt_tokens,
        prompt_tokens_details.visual_tokens, cost.operations),
      row(false, "Every patch as a token", twin.prompt_tokens, twin.visual_tokens,
        twin.operations, times)));
}
