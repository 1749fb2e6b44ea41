// The contract between a plugin and its host. `behaviour build` writes this file from the
// project's WIT; changes to it are lost.
//
// AssemblyScript cannot catch exceptions, so functions return errors.

import * as abi from "./abi";

/** JSON text, which is converted to UTF-8 for the host. */
export type Json = string;

/** The value of an optional number, boolean or enum, which cannot be null themselves. */
export class Some<T> {
  constructor(public value: T) {}
}

/** The outcome of a function of the host. Use the value only if the error is null. */
export class Result<T, E> {
  constructor(public error: E | null, public value: T) {}
}
