// The merge map: a frame as the model saw it, and over it which patches became one token.

import { get } from "./api.js";
import { byId, count, seconds } from "./dom.js";
import { paint, sized } from "./painting.js";

const MOST_THUMBNAILS = 16;
const MOST_HEIGHT = 26; // rem
const ASPECTS = [0.5, 2.4]; // what is longer or taller is shown as this

export class MergeMap {
  #map = null;
  #video = null;
  #aspect = 1;
  #pictures = [];
  #frame = 0;
  #cursor = null; // a patch of the frame
  #pinned = false; // the cursor stays where the pointer leaves
  #waits = false; // a drawing is due

  constructor() {
    const frame = byId("map-frame");
    frame.addEventListener("pointermove", (event) => this.#pinned || this.#point(event));
    frame.addEventListener("pointerdown", (event) => this.#point(event, true));
    frame.addEventListener("pointerleave", () => this.#pinned || this.#choose(null));
    frame.addEventListener("keydown", (event) => this.#key(event));
    byId("map-strip").addEventListener("pointerdown", (event) => {
      const { left, width } = byId("map-strip").getBoundingClientRect();
      const shown = this.#thumbnails();
      const at = Math.floor(((event.clientX - left) / width) * shown.length);
      this.#show(shown[Math.max(0, Math.min(at, shown.length - 1))]);
    });
    byId("map-time").addEventListener("input", (event) => this.#show(Number(event.target.value)));
    byId("map-overlay").addEventListener("change", () => this.#draw());
    new ResizeObserver(() => this.#draw()).observe(byId("map"));
  }

  /** Shows the map of a video, as wide for its height as the video is. */
  async open(video, aspect) {
    this.#video = video.id;
    const map = await (await get(`/v1/videos/${video.id}/map`)).json();
    if (this.#video !== video.id) return; // another was asked for meanwhile
    this.#map = map;
    this.#aspect = Math.min(ASPECTS[1], Math.max(ASPECTS[0], aspect));
    this.#pictures.forEach((picture) => picture?.close?.());
    this.#pictures = [];
    this.#pinned = false;
    this.#cursor = null;
    const frames = map.seconds.length;
    byId("map").hidden = false;
    byId("map").dataset.video = video.id;
    byId("map-title").textContent = `Merge map of ${video.filename}`;
    byId("map-sum").textContent = this.#sum();
    byId("map-time").max = frames - 1;
    byId("map-time").parentElement.hidden = frames === 1;
    this.#show(0);
  }

  close() {
    this.#video = null;
    this.#map = null;
    byId("map").hidden = true;
  }

  #sum() {
    const { grid, seconds: times, every, size } = this.#map;
    const patches = size.reduce((all, one) => all + one, 0);
    const kept = size.filter((one) => one === 1).length;
    const frames = count(patches / grid ** 2, "frame");
    const shown = every > 1 ? ` One in ${every} of them is shown here, ${times.length} in all.` : "";
    return `${frames} of ${grid} × ${grid} patches: ${patches.toLocaleString("en")} patches became ` +
      `${count(size.length, "token")}. ${count(kept, "patch", "patches")} stayed ` +
      `${kept === 1 ? "as it was" : "as they were"}, ${(patches - kept).toLocaleString("en")} ` +
      `merged into ${count(size.length - kept, "token")}.${shown}`;
  }

  #show(frame) {
    this.#frame = frame;
    const time = byId("map-time");
    time.value = frame;
    time.setAttribute("aria-valuetext", this.#when(frame));
    byId("map-frame").dataset.frame = frame;
    this.#choose(this.#cursor);
  }

  #when(frame) {
    return `frame ${frame + 1} of ${this.#map.seconds.length}, ` +
      `at ${seconds(this.#map.seconds[frame])}`;
  }

  #choose(patch) {
    this.#cursor = patch;
    byId("map-patch").textContent = this.#map ? this.#words() : "";
    this.#draw();
  }

  #words() {
    const { assignment, centre, grid, size } = this.#map;
    const here = assignment[this.#frame];
    if (this.#cursor === null) return `This is ${this.#when(this.#frame)}.`;
    const token = here[this.#cursor];
    const place = `Row ${Math.floor(this.#cursor / grid) + 1}, column ${this.#cursor % grid + 1}: `;
    if (size[token] === 1) return `${place}kept as it is, a token of its own.`;
    const beside = here.filter((other) => other === token).length - 1;
    const frames = assignment.filter((row) => row.includes(token)).length;
    return `${place}one token with ${count(size[token] - 1, "other patch", "other patches")}, ` +
      `${beside || "none"} of them in this frame; together they lie in ` +
      `${count(frames, "frame")}, around ${seconds(centre[token][0])}.`;
  }

  #point(event, pin = false) {
    if (!this.#map) return;
    const { left, top, width, height } = event.target.getBoundingClientRect();
    const { grid } = this.#map;
    const cell = (part) => Math.min(grid - 1, Math.max(0, Math.floor(part * grid)));
    const row = cell((event.clientY - top) / height);
    const patch = row * grid + cell((event.clientX - left) / width);
    this.#pinned = pin && !(this.#pinned && patch === this.#cursor); // a second time lets go
    this.#choose(patch);
  }

  #key(event) {
    if (!this.#map) return;
    const { grid, seconds: times } = this.#map;
    const last = grid - 1;
    const middle = Math.floor(grid / 2);
    let [row, column] = this.#cursor === null
      ? [middle, middle] : [Math.floor(this.#cursor / grid), this.#cursor % grid];
    const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const turns = { PageUp: -1, PageDown: 1 };
    if (event.key === "Escape") {
      this.#pinned = false;
      this.#choose(null);
    } else if (event.key in turns) {
      this.#show(Math.min(times.length - 1, Math.max(0, this.#frame + turns[event.key])));
    } else if (event.key in moves) {
      if (this.#cursor !== null) {
        row = Math.min(last, Math.max(0, row + moves[event.key][0]));
        column = Math.min(last, Math.max(0, column + moves[event.key][1]));
      }
      this.#pinned = true;
      this.#choose(row * grid + column);
    } else return;
    event.preventDefault();
  }

  /** The frames in the strip: all, or as many of them, evenly. */
  #thumbnails() {
    const frames = this.#map.seconds.length;
    const shown = Math.min(frames, MOST_THUMBNAILS);
    return Array.from({ length: shown }, (_, i) => Math.floor(((i + 0.5) * frames) / shown));
  }

  /** A frame's picture; null until it has come, which draws anew. */
  #picture(frame) {
    if (this.#pictures[frame] === undefined) {
      const pictures = this.#pictures;
      pictures[frame] = null;
      get(`/v1/videos/${this.#video}/frames/${frame}`)
        .then((response) => response.blob())
        .then(createImageBitmap)
        .then((picture) => { pictures[frame] = picture; this.#draw(); })
        .catch(() => {}); // the patches are drawn without it
    }
    return this.#pictures[frame];
  }

  #draw() {
    if (this.#waits) return;
    this.#waits = true;
    requestAnimationFrame(() => {
      this.#waits = false;
      if (!this.#map || byId("map").hidden) return;
      const frame = byId("map-frame");
      frame.style.width = `min(100%, ${MOST_HEIGHT * this.#aspect}rem)`;
      const box = { left: 0, top: 0, width: frame.clientWidth, height: frame.clientWidth / this.#aspect };
      this.#paint(sized(frame, box.height), this.#frame, box, true);
      if (this.#map.seconds.length > 1) this.#drawStrip();
    });
  }

  #drawStrip() {
    const strip = byId("map-strip");
    const shown = this.#thumbnails();
    const gap = 3;
    const width = (strip.clientWidth + gap) / shown.length - gap;
    const height = Math.min(width / this.#aspect, 72);
    const pen = sized(strip, height);
    const accent = getComputedStyle(strip).getPropertyValue("--accent");
    shown.forEach((frame, i) => {
      const left = i * (width + gap);
      this.#paint(pen, frame, { left, top: 0, width, height }, false);
      if (frame !== this.#frame) return;
      pen.strokeStyle = accent;
      pen.lineWidth = 3;
      pen.strokeRect(left + 1.5, 1.5, width - 3, height - 3);
    });
  }

  #paint(pen, frame, box, lines) {
    const { assignment } = this.#map;
    const chosen = this.#cursor === null ? null : assignment[this.#frame][this.#cursor];
    const patches = byId("map-overlay").checked;
    const options = { patches, chosen, lines };
    paint(pen, box, this.#picture(frame), assignment[frame], this.#map, options);
  }
}
