// The contract of a plugin with its host, a module for each interface. `behaviour
// build` writes this file from the project's WIT; changes to it are lost.
//
// A function that can fail throws: an error of the host arrives as the payload of
// a `Thrown`, and a refusal leaves the plugin as the thrown value itself.

/** The error that a function of the host throws, with its case as the payload. */
interface Thrown<E> extends Error {
  payload: E;
}

/** Writes lines to the log, as `write` of the interface `log` does. */
interface Console {
  debug(...values: unknown[]): void;
  log(...values: unknown[]): void;
  info(...values: unknown[]): void;
  warn(...values: unknown[]): void;
  error(...values: unknown[]): void;
}
declare var console: Console;

/** Encodes text as UTF-8, for the functions that take bytes. */
interface TextEncoder {
  encode(text?: string): Uint8Array;
}
declare var TextEncoder: { prototype: TextEncoder; new (): TextEncoder };

/** Decodes UTF-8. Invalid bytes become U+FFFD, or throw if `fatal` is set. */
interface TextDecoder {
  decode(bytes?: Uint8Array | ArrayBuffer): string;
}
declare var TextDecoder: {
  prototype: TextDecoder;
  new (label?: string, options?: { fatal?: boolean }): TextDecoder;
};
