// Drawing of the merge map: one frame with its patches, into a box of a canvas.

const DIM = "rgb(12 12 12 / 0.6)";
const LINE = [1, "rgb(255 255 255 / 0.65)"];
const CHOSEN_LINES = [[5, "#111"], [2.5, "#fff"]]; // dark and light: seen on any picture

/** A token's colour; neighbours by number are far apart. */
const colour = (token) => `hsl(${(token * 137.508) % 360} 72% 52% / 0.55)`;

/**
 * Paints a frame.
 *
 * @param pen Of a canvas.
 * @param box {left, top, width, height}.
 * @param picture The frame; null while it has not come.
 * @param tokens The token of each of its patches, row by row.
 * @param map {grid, size}, as the server gives it.
 * @param options {patches: whether they are shown; chosen: a token, or null; lines: between them}.
 */
export function paint(pen, box, picture, tokens, { grid, size }, { patches, chosen, lines }) {
  const { left, top, width, height } = box;
  if (picture) pen.drawImage(picture, left, top, width, height);
  if (!patches && chosen === null) return;
  const [w, h] = [width / grid, height / grid];
  const cell = (patch) => [left + (patch % grid) * w, top + Math.floor(patch / grid) * h, w, h];
  tokens.forEach((token, patch) => {
    if (chosen === null ? size[token] === 1 : token === chosen) return;
    pen.fillStyle = chosen === null ? colour(token) : DIM;
    pen.fillRect(...cell(patch));
  });
  if (!lines) return;
  outline(pen, tokens, grid, cell, () => true, LINE);
  if (chosen === null) return;
  for (const line of CHOSEN_LINES) {
    outline(pen, tokens, grid, cell, (token) => token === chosen, line);
  }
}

/** Draws a line wherever a patch's neighbour went into another token. */
function outline(pen, tokens, grid, cell, drawn, [thickness, style]) {
  pen.beginPath();
  tokens.forEach((token, patch) => {
    if (!drawn(token)) return;
    const [x, y, w, h] = cell(patch);
    const [row, column] = [Math.floor(patch / grid), patch % grid];
    const edge = (down, right, ...line) => {
      const [r, c] = [row + down, column + right];
      const inside = r >= 0 && c >= 0 && r < grid && c < grid;
      if (inside && tokens[r * grid + c] === token) return;
      pen.moveTo(line[0], line[1]);
      pen.lineTo(line[2], line[3]);
    };
    edge(-1, 0, x, y, x + w, y);
    edge(1, 0, x, y + h, x + w, y + h);
    edge(0, -1, x, y, x, y + h);
    edge(0, 1, x + w, y, x + w, y + h);
  });
  pen.lineWidth = thickness;
  pen.strokeStyle = style;
  pen.stroke();
}

/** Gives a canvas as many pixels as the screen has for it, and a clean pen. */
export function sized(canvas, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.style.height = `${height}px`;
  canvas.width = Math.round(canvas.clientWidth * scale);
  canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  return pen;
}
