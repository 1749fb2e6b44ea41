// Globals of the language that normally need a browser or an operating system. Here they
// use the interfaces of the host. `behaviour build` writes this file; changes to it are lost.

import { clock, context, log as host, Pair } from "./behaviour";

let aborting = false;

// Called after a `throw`, a failed assertion or a failed check of the language.
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  // The log entry allocates memory, and the cause may be a lack of memory.
  if (!aborting) {
    aborting = true;
    const place = file === null ? "" : `${file}:${line}:${column}`;
    host.write(host.Level.Error, message === null ? "aborted" : message, [new Pair("at", place)]);
  }
  unreachable();
}

// Returns the seed of the random numbers, which differs between calls. Not suitable for
// secrets.
export function seed(): f64 {
  const text = context.callId() + " " + clock.nowMs().toString();
  let sum: u64 = 0xcbf29ce484222325;
  for (let i = 0; i < text.length; i++) sum = (sum ^ <u64>text.charCodeAt(i)) * 0x100000001b3;
  return reinterpret<f64>(sum);
}

export function trace(message: string, n: i32 = 0, a0: f64 = 0, a1: f64 = 0, a2: f64 = 0, a3: f64 = 0, a4: f64 = 0): void {
  const all: f64[] = [a0, a1, a2, a3, a4];
  let text = message;
  for (let i = 0; i < n && i < all.length; i++) text += ` ${all[i]}`;
  host.write(host.Level.Trace, text, []);
}

export namespace console {
  export function assert<T>(condition: T, message: string = ""): void {
    if (!condition) error("Assertion failed: " + message);
  }

  export function debug(message: string = ""): void {
    host.write(host.Level.Debug, message, []);
  }

  export function log(message: string = ""): void {
    host.write(host.Level.Info, message, []);
  }

  export function info(message: string = ""): void {
    host.write(host.Level.Info, message, []);
  }

  export function warn(message: string = ""): void {
    host.write(host.Level.Warn, message, []);
  }

  export function error(message: string = ""): void {
    host.write(host.Level.Error, message, []);
  }
}
