/**
 * The order of keys: that of their UTF-8 bytes, which is that of their code points and not that of
 * JavaScript's `<`.
 */

/** Surrogates (U+10000 and above) come after U+E000..U+FFFF in UTF-8, before them in UTF-16. */
function rankOf(unit: number): number {
  if (unit < 0xd800) return unit;
  return unit < 0xe000 ? unit + 0x2000 : unit - 0x800;
}

export function compareKeys(a: string, b: string): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) {
    const x = a.charCodeAt(i);
    const y = b.charCodeAt(i);
    if (x !== y) return rankOf(x) - rankOf(y);
  }
  return a.length - b.length;
}

export function compareNumbers(a: number, b: number): number {
  return a - b;
}
