// The contract of a plugin with its host. `behaviour build` writes this file from the
// project's WIT; changes to it are lost.
//
// AssemblyScript cannot catch what is thrown, so an error is returned.

import * as abi from "./abi";

/** UTF-8 JSON text, once it is with the host. */
export type Json = string;

/** A number or an enum where there may be none. */
export class Some<T> {
  constructor(public value: T) {}
}

/** The outcome of a function of the host: a value, or an error, which makes the value meaningless. */
export class Result<T, E> {
  constructor(public error: E | null, public value: T) {}
}
