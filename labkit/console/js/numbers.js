// Numbers: as words, and on the axes of a picture. Pure functions all.

export const percent = (correct, count) => (count ? (100 * correct) / count : NaN);
export const show = (value, digits = 2) =>
  Number.isFinite(value) ? value.toFixed(digits) : "not finite";

export function rate(value) {
  if (!Number.isFinite(value)) return "";
  const short = Number(value.toPrecision(3));
  return short !== 0 && Math.abs(short) < 1e-4
    ? short.toExponential().replace("e-0", "e-")
    : String(short);
}

export function amount(count) {
  if (count < 1e3) return String(count);
  return count < 1e6
    ? `${(count / 1e3).toFixed(count < 1e4 ? 1 : 0)} k`
    : `${(count / 1e6).toFixed(1)} M`;
}

// A typed number, or the text itself, so that the kernel's door can say what is wrong with it.
export const number = (text) =>
  text.trim() !== "" && Number.isFinite(Number(text)) ? Number(text) : text.trim();

// How far a stage has moved, relative to its length: in per cent, or in lengths where it is far.
export function moved(drift) {
  if (drift < 2) return `${(100 * drift).toFixed(2)} %`;
  return `${drift < 10 ? drift.toFixed(1) : drift.toFixed(0)} × its length`;
}

const NICE = [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10];
export function nice(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return NICE.find((factor) => factor * power >= value * 0.999) * power;
}

export function ticks(top, count) {
  const rough = top / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough) * power;
  return Array.from({ length: Math.floor(top / step + 1e-6) + 1 }, (_, i) => i * step);
}

export const trim = (value) => String(Number(value.toPrecision(6)));
