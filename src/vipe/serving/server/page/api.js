// All that the page asks of the server: the calls of /v1, as any other client makes them.

let key = "";

/** What the server did not do, in one line. */
export class Failure extends Error {
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

export const useKey = (given) => { key = given; };

const headers = (more = {}) => (key ? { Authorization: `Bearer ${key}`, ...more } : more);

function failure(text, status) {
  try {
    return new Failure(JSON.parse(text).error.message, status);
  } catch {
    return new Failure(`the server answered with status ${status}`, status);
  }
}

export async function get(path, options = {}) {
  let response;
  try {
    response = await fetch(path, { ...options, headers: headers(options.headers) });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("the server cannot be reached");
  }
  if (!response.ok) throw failure(await response.text(), response.status);
  return response;
}

/** Takes server-sent events apart as their text comes. */
export class Events {
  #rest = "";

  /** Returns the values of the events that are whole now. */
  push(text) {
    const parts = (this.#rest + text).split("\n\n");
    this.#rest = parts.pop();
    const lines = parts.filter((part) => part.startsWith("data: ")).map((part) => part.slice(6));
    return lines.filter((line) => line !== "[DONE]").map((line) => {
      const value = JSON.parse(line);
      if (value.error) throw new Failure(value.error.message);
      return value;
    });
  }
}

/**
 * Uploads a file and lets the server look at it.
 * `told` gets {stage: "uploading", done, of} and then the server's own events.
 * Not by fetch: that does not tell how much was sent.
 */
export function see(file, told, signal) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const events = new Events();
    let read = 0;
    let video = null;
    const take = () => {
      if (request.status !== 200) return;
      const text = request.responseText.slice(read);
      read += text.length;
      for (const event of events.push(text)) {
        if (event.stage === "seen") video = event.video;
        told(event);
      }
    };
    const guarded = (call) => () => {
      try { call(); } catch (error) { reject(error); request.abort(); }
    };
    request.open("POST", "/v1/videos?stream=true");
    for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) =>
      told({ stage: "uploading", done: event.loaded, of: event.total });
    request.onprogress = guarded(take);
    request.onload = guarded(() => {
      if (request.status !== 200) throw failure(request.responseText, request.status);
      take();
      if (!video) throw new Failure("the connection broke off before the video was seen");
      resolve(video);
    });
    request.onerror = () => reject(new Failure("the connection to the server broke off"));
    request.onabort = () => reject(new DOMException("given up", "AbortError"));
    signal.addEventListener("abort", () => request.abort());
    const form = new FormData();
    form.append("file", file, file.name);
    request.send(form);
  });
}

/** Asks about videos; yields the pieces of the answer, and at last its usage. */
export async function* ask(messages, videos, signal) {
  const response = await get("/v1/chat/completions", {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      messages, video: videos, stream: true, stream_options: { include_usage: true },
    }),
  });
  const events = new Events();
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    for (const event of events.push(value)) {
      if (event.usage) yield { usage: event.usage };
      const text = event.choices[0]?.delta.content;
      if (text) yield { text };
    }
  }
}
