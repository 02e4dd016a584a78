// Small things that all parts of the page use.

export const byId = (id) => document.getElementById(id);

/** Makes an element; properties that are no element's are set as attributes. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** "1 frame", "8 frames". */
export const count = (number, one, many = `${one}s`) =>
  `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

export function bytes(number) {
  for (const unit of ["bytes", "kB", "MB"]) {
    if (number < 1000) return `${rounded(number)} ${unit}`;
    number /= 1024;
  }
  return `${rounded(number)} GB`;
}

export function seconds(number) {
  if (number < 1) return `${number.toFixed(2)} s`;
  if (number < 120) return `${rounded(number)} s`;
  if (number < 7200) return `${rounded(number / 60)} min`;
  return `${rounded(number / 3600)} h`;
}

/** Operations, as "8.2 GFLOP". */
export function operations(number) {
  const units = ["", "k", "M", "G", "T", "P"];
  let unit = 0;
  while (number >= 1000 && unit < units.length - 1) {
    number /= 1000;
    unit += 1;
  }
  return `${rounded(number)} ${units[unit]}FLOP`;
}

export const rounded = (number) =>
  number.toLocaleString("en", { maximumSignificantDigits: number < 100 ? 2 : 3 });
