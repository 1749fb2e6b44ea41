// Globals of the language that ask for a system, which no host is. They use the interfaces
// of the host. `behaviour build` writes this file; changes to it are lost.

import { clock, context, log as host, Pair } from "./behaviour";

let aborting = false;

// The end of a `throw`, a failed assertion or a check of the language's own.
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  // Memory for the message may be what is missing.
  if (!aborting) {
    aborting = true;
    const place = file === null ? "" : `${file}:${line}:${column}`;
    host.write(host.Level.Error, message === null ? "aborted" : message, [new Pair("at", place)]);
  }
  unreachable();
}

// The beginning of the random numbers, another for each call. It spreads load and keeps no
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
