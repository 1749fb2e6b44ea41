// A minimal JSON library, which finds and inserts values in the text of an object. It
// does not parse other values and accepts any depth.

/** The position of a value in the text of an object. */
export class Span {
  constructor(public start: i32, public end: i32) {}

  of(text: string): string {
    return text.substring(this.start, this.end);
  }
}

const Quote: i32 = 0x22;
const Comma: i32 = 0x2c;
const Minus: i32 = 0x2d;
const Point: i32 = 0x2e;
const Zero: i32 = 0x30;
const Backslash: i32 = 0x5c;

/** Returns true if the text is a single object. */
export function isObject(value: string): bool {
  const span = trimmed(value, 0, value.length);
  return span.end - span.start >= 2
    && value.charAt(span.start) == "{" && value.charAt(span.end - 1) == "}"
    && afterValue(value, span.start, span.end) == span.end;
}

/**
 * Returns the value of a key in an object, or the last value if the key is repeated. Keys
 * are compared without resolving escapes.
 */
export function find(object: string, key: string): Span | null {
  const whole = trimmed(object, 0, object.length);
  const end = whole.end - 1;
  let found: Span | null = null;
  let at = object.indexOf('"', whole.start + 1);
  while (at >= 0 && at < end) {
    const after = afterString(object, at, end);
    const colon = object.indexOf(":", after);
    if (colon < 0) break;
    const next = afterValue(object, colon + 1, end);
    if (object.substring(at + 1, after - 1) == key) found = trimmed(object, colon + 1, next);
    at = object.indexOf('"', next);
  }
  return found;
}

/** Parses the text as a number. Returns NaN if it is not a number. */
export function number(text: string): f64 {
  let at = text.charCodeAt(0) == Minus ? 1 : 0;
  const whole = at;
  at = afterDigits(text, at);
  if (at == whole || (text.charCodeAt(whole) == Zero && at > whole + 1)) return NaN;
  if (at < text.length && text.charCodeAt(at) == Point) {
    const fraction = at + 1;
    at = afterDigits(text, fraction);
    if (at == fraction) return NaN;
  }
  if (at < text.length && (text.charCodeAt(at) | 0x20) == 0x65) { // e or E
    at++;
    if (at < text.length && (text.charAt(at) == "+" || text.charAt(at) == "-")) at++;
    const exponent = at;
    at = afterDigits(text, exponent);
    if (at == exponent) return NaN;
  }
  return at == text.length ? parseFloat(text) : NaN;
}

/** Returns the text as a JSON string. */
export function quoted(text: string): string {
  let made = '"';
  let copied = 0;
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    if (c >= 0x20 && c != Quote && c != Backslash) continue;
    made += text.substring(copied, i);
    made += c < 0x20 ? "\\u00" + (c < 0x10 ? "0" : "") + c.toString(16) : "\\" + text.charAt(i);
    copied = i + 1;
  }
  return made + text.substring(copied) + '"';
}

/** Returns a copy of an object with an additional first member. */
export function withMember(object: string, key: string, value: string): string {
  const inside = object.indexOf("{") + 1;
  const alone = object.charAt(trimmed(object, inside, object.length).start) == "}";
  return object.substring(0, inside) + quoted(key) + ":" + value + (alone ? "" : ",") + object.substring(inside);
}

function trimmed(text: string, start: i32, end: i32): Span {
  while (start < end && isSpace(text.charCodeAt(start))) start++;
  while (start < end && isSpace(text.charCodeAt(end - 1))) end--;
  return new Span(start, end);
}

function isSpace(c: i32): bool {
  return c == 0x20 || c == 0x09 || c == 0x0a || c == 0x0d;
}

function afterDigits(text: string, at: i32): i32 {
  while (at < text.length && text.charCodeAt(at) >= Zero && text.charCodeAt(at) <= Zero + 9) at++;
  return at;
}

// Returns the end of the string that starts here.
function afterString(text: string, at: i32, end: i32): i32 {
  for (at++; at < end && text.charCodeAt(at) != Quote; at++) {
    if (text.charCodeAt(at) == Backslash) at++;
  }
  return at < end ? at + 1 : end;
}

// Returns the end of a value, which is followed by a comma, a bracket or the end.
function afterValue(text: string, at: i32, end: i32): i32 {
  let depth = 0;
  while (at < end) {
    const c = text.charCodeAt(at);
    if (c == Quote) {
      at = afterString(text, at, end);
      continue;
    }
    // An opening or closing bracket differs from the brace by one bit.
    const bracket = c | 0x20;
    if (bracket == 0x7b) {
      depth++;
    } else if (bracket == 0x7d) {
      if (depth == 0) return at;
      depth--;
      if (depth == 0) return at + 1;
    } else if (c == Comma && depth == 0) {
      return at;
    }
    at++;
  }
  return at;
}
