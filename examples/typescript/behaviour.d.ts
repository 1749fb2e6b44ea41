// What the host lends to a plugin, and what a plugin exports: the WIT package
// device:behaviour as TypeScript. wit/ has the whole text.
//
// `result` is what a function returns, or throws: an error of the host arrives
// as the payload of what is `Thrown`, and a refusal leaves as a thrown
// `MethodError`.

declare module 'device:behaviour/types@0.1.0' {
  /** UTF-8 JSON text: any JSON value. */
  export type Json = string;

  export interface Response {
    /** HTTP-like, from 100 to 599. */
    status: number;
    /** JSON text; without it the caller gets `null`. */
    payload?: Json | null;
  }

  /** Thrown by `invoke`. */
  export type MethodError =
    | { tag: 'invalid-payload'; val: string }
    | { tag: 'unknown-method' }
    | { tag: 'busy'; val: number | null }
    | { tag: 'failed'; val: string }
    | { tag: 'other'; val: string };

  /** Thrown by `run` and `changed`. */
  export type JobError =
    | { tag: 'retry'; val: number | null }
    | { tag: 'reject'; val: string }
    | { tag: 'other'; val: string };

  /** What the functions of the host throw. */
  export interface Thrown extends Error {
    payload: HostError;
  }

  export type HostError =
    | { tag: 'denied' | 'invalid' | 'too-large' | 'quota-exceeded' | 'other'; val: string }
    | { tag: 'offline' | 'timeout' }
    | { tag: 'throttled'; val: number | null };

  /** `export const methods: Methods`. */
  export interface Methods {
    invoke(name: string, payload: Json): Response;
  }

  /** `export const deferred: Deferred`, in a world that exports it. */
  export interface Deferred {
    run(name: string, payload: Json): void;
  }

  /** `export const desired: Desired`, in a world that exports it. */
  export interface Desired {
    changed(patch: Json, version: number): void;
  }

  /** `export const lifecycle: Lifecycle`, in a world that exports it. */
  export interface Lifecycle {
    start(previousVersion: string | null): void;
    stop(): void;
  }
}

declare module 'device:behaviour/context@0.1.0' {
  export function pluginName(): string;
  export function deviceId(): string;
  export function callId(): string;
  export function remainingMs(): number;
  export function attempt(): number;
}

declare module 'device:behaviour/clock@0.1.0' {
  export function nowMs(): number;
  /** `2026-01-31T23:59:59.123Z` */
  export function nowRfc3339(): string;
  export function sleepMs(duration: number): void;
}

declare module 'device:behaviour/log@0.1.0' {
  export type Level = 'trace' | 'debug' | 'info' | 'warn' | 'error';
  export function write(level: Level, message: string, fields: [string, string][]): void;
}

declare module 'device:behaviour/config@0.1.0' {
  export function get(key: string): string | null;
  export function entries(): [string, string][];
}

declare module 'device:behaviour/twin@0.1.0' {
  export interface Document {
    /** A JSON object as text. */
    body: string;
    version: number;
  }
  export function report(patch: string): void;
  /** Gives the version of the reported properties that the hub acknowledged. */
  export function reportAndWait(patch: string, timeoutMs: number): number;
  export function desired(): Document;
  export function reported(): Document;
}

declare module 'device:behaviour/telemetry@0.1.0' {
  export function send(body: Uint8Array, contentType: string, properties: [string, string][]): void;
}

declare module 'device:behaviour/state@0.1.0' {
  export function get(key: string): Uint8Array | null;
  export function set(key: string, value: Uint8Array): void;
  function delete_(key: string): void;
  export { delete_ as delete };
  export function keys(prefix: string, limit: number): string[];
  export function swap(key: string, expected: Uint8Array | null, value: Uint8Array | null): boolean;
}

declare module 'device:behaviour/jobs@0.1.0' {
  export type BootOutcome = 'not-waited-for' | 'rebooted' | 'host-restarted-only' | 'expired';
  export function afterResponse(name: string, payload: string): string;
  export function afterDelay(name: string, payload: string, delayMs: number): string;
  export function afterBoot(name: string, payload: string, withinMs: number): string;
  export function cancel(id: string): boolean;
  export function bootOutcomeOfCurrent(): BootOutcome;
}

declare module 'device:behaviour/power@0.1.0' {
  export function requestReboot(delayMs: number, reason: string): void;
}

/** Writes a line to the log, as `write` does. */
interface Console {
  debug(...what: unknown[]): void;
  log(...what: unknown[]): void;
  info(...what: unknown[]): void;
  warn(...what: unknown[]): void;
  error(...what: unknown[]): void;
}
declare var console: Console;

/** Text as UTF-8, for the functions that take bytes. */
interface TextEncoder {
  encode(text?: string): Uint8Array;
}
declare var TextEncoder: { prototype: TextEncoder; new (): TextEncoder };

/** UTF-8 as text; what is none becomes U+FFFD, or throws where that is `fatal`. */
interface TextDecoder {
  decode(bytes?: Uint8Array | ArrayBuffer): string;
}
declare var TextDecoder: {
  prototype: TextDecoder;
  new (label?: string, options?: { fatal?: boolean }): TextDecoder;
};
