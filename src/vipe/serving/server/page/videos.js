// Videos: how they come in, and the list of those that were seen.

import { get, see } from "./api.js";
import { aspectOf } from "./aspect.js";
import { byId, bytes, count, make, rounded, seconds } from "./dom.js";
import { Stages } from "./stages.js";

export class Videos {
  #items = []; // {video, aspect, tick}, in the order in which they were seen
  #waiting = Promise.resolve(); // one upload after another
  #stages = new Stages();
  #settings;
  #map;
  #changed;
  #failed;

  /** `changed` is called when other videos are asked about, `failed` with what went wrong. */
  constructor(settings, map, changed, failed) {
    this.#settings = settings;
    this.#map = map;
    this.#changed = changed;
    this.#failed = failed;
    byId("limits").textContent = limitsOf(settings);
    byId("file").addEventListener("change", (event) => {
      this.add([...event.target.files]);
      event.target.value = ""; // the same file can be chosen again
    });
    this.#takeDrops(byId("drop"));
    this.#showSamples();
  }

  /** The videos that are asked about. */
  get chosen() {
    return this.#items.filter((item) => item.tick.checked).map((item) => item.video);
  }

  /** Uploads files, one after another. */
  add(files, question = "") {
    for (const file of files) this.#waiting = this.#waiting.then(() => this.#add(file, question));
    return this.#waiting;
  }

  async #add(file, question) {
    this.#failed(null);
    const most = this.#settings.limits.bytes;
    if (file.size > most) {
      this.#failed(new Error(`${file.name} has ${bytes(file.size)}: this server takes up to ${bytes(most)}.`));
      return;
    }
    const giveUp = new AbortController();
    this.#stages.begin(file.name, () => giveUp.abort());
    try {
      const [seen, aspect] = await Promise.all([
        see(file, (event) => this.#stages.told(event), giveUp.signal), aspectOf(file),
      ]);
      // The server knows videos by their bytes; what it calls one may be another person's name.
      const video = { ...seen, filename: file.name };
      this.#seen(video, aspect, question);
      await this.#map.open(video, aspect);
    } catch (error) {
      if (error.name !== "AbortError") this.#failed(error);
    } finally {
      this.#stages.end();
    }
  }

  #seen(video, aspect, question) {
    const known = this.#items.findIndex((item) => item.video.id === video.id);
    if (known >= 0) this.#items.splice(known, 1);
    const tick = make("input", { type: "checkbox", checked: true });
    tick.addEventListener("change", () => this.#choose());
    this.#items.forEach((item) => { item.tick.checked = false; });
    this.#items.push({ video, aspect, tick });
    this.#list();
    this.#choose(question);
    byId("announce").textContent = `${video.filename} was seen. Ask about it.`;
  }

  #list() {
    byId("nothing").hidden = this.#items.length > 0;
    byId("seen").replaceChildren(...this.#items.map(({ video, aspect, tick }) => {
      const about = [count(video.frames, "frame")];
      if (video.seconds) about.unshift(seconds(video.seconds));
      const button = (text, call) => make("button", {
        type: "button", className: "quiet", textContent: text,
        "aria-label": `${text}: ${video.filename}`, onclick: () => this.#guarded(call),
      });
      return make("li", {},
        make("label", {}, tick,
          make("span", {}, video.filename, make("small", {}, about.join(", ")))),
        make("span", {},
          button("Map", () => this.#map.open(video, aspect)),
          button("Adapter", () => download(video)),
          button("Forget", () => this.#forget(video))));
    }));
  }

  #choose(question = "") {
    const most = this.#settings.most_videos;
    const full = this.chosen.length >= most;
    for (const { tick } of this.#items) tick.disabled = full && !tick.checked;
    this.#changed(this.chosen, question);
  }

  async #forget(video) {
    await get(`/v1/videos/${video.id}`, { method: "DELETE" });
    this.#items = this.#items.filter((item) => item.video.id !== video.id);
    if (byId("map").dataset.video === video.id) this.#map.close();
    this.#list();
    this.#choose();
    byId("announce").textContent = `${video.filename} was forgotten.`;
  }

  async #guarded(call) {
    this.#failed(null);
    try { await call(); } catch (error) { this.#failed(error); }
  }

  #takeDrops(box) {
    let depth = 0; // the pointer also enters and leaves what is inside
    const over = (by) => {
      depth = Math.max(0, depth + by);
      box.classList.toggle("over", depth > 0);
    };
    box.addEventListener("dragenter", () => over(1));
    box.addEventListener("dragleave", () => over(-1));
    // Anywhere else the browser would open the file in place of the page.
    document.addEventListener("dragover", (event) => event.preventDefault());
    document.addEventListener("drop", (event) => {
      event.preventDefault();
      over(-Infinity);
      const files = [...(event.dataTransfer?.files ?? [])];
      if (files.length) this.add(files);
    });
  }

  #showSamples() {
    const { samples } = this.#settings;
    byId("samples-box").hidden = samples.length === 0;
    byId("samples").replaceChildren(...samples.map((sample) => make("li", {},
      make("button", {
        type: "button",
        onclick: () => this.#guarded(async () => {
          const content = await (await get(`/page/samples/${sample.file}`)).blob();
          await this.add([new File([content], sample.file, { type: content.type })], sample.question);
        }),
      },
      make("img", { src: `/page/samples/${sample.poster}`, alt: "", width: 192, height: 192 }),
      make("span", {}, sample.name)))));
  }
}

function limitsOf({ frames, limits }) {
  return `MP4, WebM, MOV, MKV, AVI, GIF, JPEG, PNG, WebP and more; up to ${bytes(limits.bytes)}, ` +
    `${seconds(limits.seconds)} and ${rounded(limits.pixels / 1e6)} megapixels a frame. ` +
    `Of a video ${count(frames, "frame")} ${frames === 1 ? "is" : "are"} looked at, evenly spread.`;
}

/** Saves a video's adapter, a zip of a PEFT folder; by a call of our own, for the key's sake. */
async function download(video) {
  const content = await (await get(`/v1/videos/${video.id}/adapter?format=zip`)).blob();
  const address = URL.createObjectURL(content);
  const name = video.filename.replace(/\.[^.]*$/, "") || "video";
  make("a", { href: address, download: `${name}-adapter.zip` }).click();
  setTimeout(() => URL.revokeObjectURL(address), 60000);
}
