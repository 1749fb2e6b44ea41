// The contract between a plugin and its host, with a module for each interface. `behaviour
// build` writes this file from the project's WIT; changes to it are lost.
//
// A function that can fail throws. A function of the host throws a `Thrown`, whose payload
// is the error. A function of the plugin throws the error value itself.

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
