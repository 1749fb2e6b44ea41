// The contract of a plugin with its host, as wit/ writes it down: what the host
// lends, and the method that it calls. What each function does stands there.
//
// It is the canonical ABI of components by hand: a text is a pointer and a length,
// and what does not fit into one number is written where the last argument points
// to. An instance lives for one call, so nothing is ever freed.
//
// AssemblyScript cannot catch what is thrown, so an error is returned.

/** UTF-8 JSON text, once it is with the host. */
export type Json = string;

/** A key and its value. */
export class Pair {
  constructor(public key: string, public value: string) {}
}

/** What a call of the host gives: a value, which means nothing where there is an error. */
export class Result<T> {
  constructor(public error: HostError | null, public value: T) {}
}

export enum ErrorKind { Denied, Invalid, TooLarge, QuotaExceeded, Offline, Timeout, Throttled, Other }

/** Why a call to the host was not done. */
export class HostError {
  /** Goes with `Throttled`; -1 where the hub has left it open. */
  retryAfterMs: i64 = -1;

  constructor(public kind: ErrorKind, public text: string) {}

  toString(): string {
    switch (this.kind) {
      case ErrorKind.Offline: return "the device is offline";
      case ErrorKind.Timeout: return "the hub did not answer in time";
      case ErrorKind.Throttled: return "throttled by the hub";
      default: return this.text;
    }
  }
}

enum Refusal { InvalidPayload, UnknownMethod, Busy, Failed, Other }

/** What a method answers: a response or a refusal. */
export class Answer {
  private constructor(
    private refused: bool,
    /** The status, or which refusal it is. */
    private code: u16,
    private text: string | null,
    private retryAfterMs: i64 = -1,
  ) {}

  /** Reaches the caller unchanged; without a payload, with `null`. */
  static response(status: u16, payload: Json | null = null): Answer {
    return new Answer(false, status, payload);
  }

  /** 400: the payload is JSON, but not what this method takes. */
  static invalidPayload(why: string): Answer {
    return new Answer(true, <u16>Refusal.InvalidPayload, why);
  }

  /** 404: routed here, but this plugin does not serve that name. */
  static unknownMethod(): Answer {
    return new Answer(true, <u16>Refusal.UnknownMethod, null);
  }

  /** 429: not now; perhaps again after this time, unless it is negative. */
  static busy(retryAfterMs: i64 = -1): Answer {
    return new Answer(true, <u16>Refusal.Busy, null, retryAfterMs);
  }

  /** 500: tried, and it did not work. */
  static failed(why: string): Answer {
    return new Answer(true, <u16>Refusal.Failed, why);
  }

  /** 500: anything else. */
  static other(why: string): Answer {
    return new Answer(true, <u16>Refusal.Other, why);
  }

  /** Writes it as the host reads it, and gives the place. */
  write(): usize {
    const text = new Bytes(this.text);
    memory.fill(returning, 0, 20);
    store<u8>(returning, this.refused);
    store<u16>(returning, this.code, 4);
    if (!this.refused) {
      store<u8>(returning, this.text !== null, 8);
      store<u32>(returning, text.ptr, 12);
      store<u32>(returning, text.len, 16);
    } else if (this.code == <u16>Refusal.Busy) {
      store<u8>(returning, this.retryAfterMs >= 0, 8);
      store<u32>(returning, <u32>max(this.retryAfterMs, 0), 12);
    } else {
      store<u32>(returning, text.ptr, 8);
      store<u32>(returning, text.len, 12);
    }
    return returning;
  }
}

@external("device:behaviour/context@0.1.0", "plugin-name") declare function contextPluginName(to: usize): void;
@external("device:behaviour/context@0.1.0", "device-id") declare function contextDeviceId(to: usize): void;
@external("device:behaviour/context@0.1.0", "call-id") declare function contextCallId(to: usize): void;
@external("device:behaviour/context@0.1.0", "remaining-ms") declare function contextRemainingMs(): u32;
@external("device:behaviour/context@0.1.0", "attempt") declare function contextAttempt(): u32;

export namespace context {
  export function pluginName(): string {
    contextPluginName(area);
    return textAt(area);
  }

  export function deviceId(): string {
    contextDeviceId(area);
    return textAt(area);
  }

  export function callId(): string {
    contextCallId(area);
    return textAt(area);
  }

  export function remainingMs(): u32 {
    return contextRemainingMs();
  }

  export function attempt(): u32 {
    return contextAttempt();
  }
}

@external("device:behaviour/clock@0.1.0", "now-ms") declare function clockNowMs(): u64;
@external("device:behaviour/clock@0.1.0", "now-rfc3339") declare function clockNowRfc3339(to: usize): void;
@external("device:behaviour/clock@0.1.0", "sleep-ms") declare function clockSleepMs(duration: u32, to: usize): void;

export namespace clock {
  export function nowMs(): u64 {
    return clockNowMs();
  }

  export function nowRfc3339(): string {
    clockNowRfc3339(area);
    return textAt(area);
  }

  export function sleepMs(duration: u32): HostError | null {
    clockSleepMs(duration, area);
    return errorAt(4);
  }
}

@external("device:behaviour/log@0.1.0", "write")
declare function logWrite(level: u32, message: usize, messageLen: usize, fields: usize, count: usize): void;

export namespace log {
  export enum Level { Trace, Debug, Info, Warn, Error }

  export function write(level: Level, message: string, fields: Pair[] = []): void {
    const line = new Bytes(message);
    logWrite(level, line.ptr, line.len, pairs(fields), fields.length);
  }
}

@external("device:behaviour/config@0.1.0", "get") declare function configGet(key: usize, keyLen: usize, to: usize): void;
@external("device:behaviour/config@0.1.0", "entries") declare function configEntries(to: usize): void;

export namespace config {
  export function get(key: string): string | null {
    const name = new Bytes(key);
    configGet(name.ptr, name.len, area);
    return load<u8>(area) ? textAt(area + 4) : null;
  }

  export function entries(): Pair[] {
    configEntries(area);
    const at = <usize>load<u32>(area), count = load<u32>(area, 4);
    const all = new Array<Pair>();
    for (let i: u32 = 0; i < count; i++) {
      all.push(new Pair(textAt(at + 16 * i), textAt(at + 16 * i + 8)));
    }
    return all;
  }
}

@external("device:behaviour/twin@0.1.0", "report") declare function twinReport(patch: usize, patchLen: usize, to: usize): void;
@external("device:behaviour/twin@0.1.0", "report-and-wait")
declare function twinReportAndWait(patch: usize, patchLen: usize, timeout: u32, to: usize): void;
@external("device:behaviour/twin@0.1.0", "desired") declare function twinDesired(to: usize): void;
@external("device:behaviour/twin@0.1.0", "reported") declare function twinReported(to: usize): void;

// A result with a 64-bit number in it has what follows at a multiple of eight.
export namespace twin {
  export class Document {
    constructor(public body: Json, public version: u64) {}
  }

  export function report(patch: Json): HostError | null {
    const text = new Bytes(patch);
    twinReport(text.ptr, text.len, area);
    return errorAt(4);
  }

  /** Gives the version of the reported properties that the hub acknowledged. */
  export function reportAndWait(patch: Json, timeoutMs: u32): Result<u64> {
    const text = new Bytes(patch);
    twinReportAndWait(text.ptr, text.len, timeoutMs, area);
    const error = errorAt(8);
    return new Result<u64>(error, error !== null ? 0 : load<u64>(area, 8));
  }

  export function desired(): Result<Document | null> {
    twinDesired(area);
    return document();
  }

  export function reported(): Result<Document | null> {
    twinReported(area);
    return document();
  }

  function document(): Result<Document | null> {
    const error = errorAt(8);
    if (error !== null) return new Result<Document | null>(error, null);
    return new Result<Document | null>(null, new Document(textAt(area + 8), load<u64>(area, 16)));
  }
}

@external("device:behaviour/telemetry@0.1.0", "send")
declare function telemetrySend(
  body: usize, bodyLen: usize, contentType: usize, contentTypeLen: usize, properties: usize, count: usize, to: usize,
): void;

export namespace telemetry {
  export function send(body: Uint8Array, contentType: string, properties: Pair[] = []): HostError | null {
    const type = new Bytes(contentType);
    telemetrySend(body.dataStart, body.length, type.ptr, type.len, pairs(properties), properties.length, area);
    return errorAt(4);
  }
}

@external("device:behaviour/state@0.1.0", "get") declare function stateGet(key: usize, keyLen: usize, to: usize): void;
@external("device:behaviour/state@0.1.0", "set")
declare function stateSet(key: usize, keyLen: usize, value: usize, valueLen: usize, to: usize): void;
@external("device:behaviour/state@0.1.0", "delete") declare function stateDelete(key: usize, keyLen: usize, to: usize): void;
@external("device:behaviour/state@0.1.0", "keys")
declare function stateKeys(prefix: usize, prefixLen: usize, limit: u32, to: usize): void;
@external("device:behaviour/state@0.1.0", "swap")
declare function stateSwap(
  key: usize, keyLen: usize, isExpected: u32, expected: usize, expectedLen: usize,
  isValue: u32, value: usize, valueLen: usize, to: usize,
): void;

export namespace state {
  /** The value of a key; `null` if there is none. */
  export function get(key: string): Result<Uint8Array | null> {
    const name = new Bytes(key);
    stateGet(name.ptr, name.len, area);
    const error = errorAt(4);
    if (error !== null || !load<u8>(area, 4)) return new Result<Uint8Array | null>(error, null);
    const len = load<u32>(area, 12);
    const value = new Uint8Array(len);
    memory.copy(value.dataStart, load<u32>(area, 8), len);
    return new Result<Uint8Array | null>(null, value);
  }

  export function set(key: string, value: Uint8Array): HostError | null {
    const name = new Bytes(key);
    stateSet(name.ptr, name.len, value.dataStart, value.length, area);
    return errorAt(4);
  }

  export function remove(key: string): HostError | null {
    const name = new Bytes(key);
    stateDelete(name.ptr, name.len, area);
    return errorAt(4);
  }

  export function keys(prefix: string, limit: u32): Result<string[]> {
    const text = new Bytes(prefix);
    stateKeys(text.ptr, text.len, limit, area);
    const error = errorAt(4);
    const all = new Array<string>();
    if (error !== null) return new Result<string[]>(error, all);
    const at = <usize>load<u32>(area, 4), count = load<u32>(area, 8);
    for (let i: u32 = 0; i < count; i++) all.push(textAt(at + 8 * i));
    return new Result<string[]>(null, all);
  }

  export function swap(key: string, expected: Uint8Array | null, value: Uint8Array | null): Result<bool> {
    const name = new Bytes(key);
    const old = expected !== null ? expected : new Uint8Array(0);
    const next = value !== null ? value : new Uint8Array(0);
    stateSwap(
      name.ptr, name.len, expected !== null, old.dataStart, old.length,
      value !== null, next.dataStart, next.length, area,
    );
    return yes();
  }
}

@external("device:behaviour/jobs@0.1.0", "after-response")
declare function jobsAfterResponse(name: usize, nameLen: usize, payload: usize, payloadLen: usize, to: usize): void;
@external("device:behaviour/jobs@0.1.0", "after-delay")
declare function jobsAfterDelay(name: usize, nameLen: usize, payload: usize, payloadLen: usize, delay: u32, to: usize): void;
@external("device:behaviour/jobs@0.1.0", "after-boot")
declare function jobsAfterBoot(name: usize, nameLen: usize, payload: usize, payloadLen: usize, within: u32, to: usize): void;
@external("device:behaviour/jobs@0.1.0", "cancel") declare function jobsCancel(id: usize, idLen: usize, to: usize): void;
@external("device:behaviour/jobs@0.1.0", "boot-outcome-of-current") declare function jobsBootOutcomeOfCurrent(): u32;

export namespace jobs {
  export enum BootOutcome { NotWaitedFor, Rebooted, HostRestartedOnly, Expired }

  /** These three give the id of the job. */
  export function afterResponse(name: string, payload: Json): Result<string> {
    const job = new Bytes(name), text = new Bytes(payload);
    jobsAfterResponse(job.ptr, job.len, text.ptr, text.len, area);
    return id();
  }

  export function afterDelay(name: string, payload: Json, delayMs: u32): Result<string> {
    const job = new Bytes(name), text = new Bytes(payload);
    jobsAfterDelay(job.ptr, job.len, text.ptr, text.len, delayMs, area);
    return id();
  }

  export function afterBoot(name: string, payload: Json, withinMs: u32): Result<string> {
    const job = new Bytes(name), text = new Bytes(payload);
    jobsAfterBoot(job.ptr, job.len, text.ptr, text.len, withinMs, area);
    return id();
  }

  /** Says whether the job was still waiting, and now will not run. */
  export function cancel(id: string): Result<bool> {
    const job = new Bytes(id);
    jobsCancel(job.ptr, job.len, area);
    return yes();
  }

  export function bootOutcomeOfCurrent(): BootOutcome {
    return jobsBootOutcomeOfCurrent();
  }

  function id(): Result<string> {
    const error = errorAt(4);
    return new Result<string>(error, error !== null ? "" : textAt(area + 4));
  }
}

// Where the host writes what it returns, and where it reads what a method returns.
const area = memory.data(24, 8);
const returning = memory.data(24, 8);

/** A text as the host reads it. */
class Bytes {
  ptr: usize = 0;
  len: usize = 0;

  constructor(text: string | null) {
    if (text !== null) {
      // Half a surrogate pair is no UTF-8, which the host would not take.
      const buffer = String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE);
      this.ptr = changetype<usize>(buffer);
      this.len = buffer.byteLength;
    }
  }
}

function textAt(place: usize): string {
  return String.UTF8.decodeUnsafe(load<u32>(place), load<u32>(place, 4));
}

function yes(): Result<bool> {
  const error = errorAt(4);
  return new Result<bool>(error, error === null && load<u8>(area, 4) != 0);
}

/** The error in the area, if the result there is one, which begins at `offset`. */
function errorAt(offset: usize): HostError | null {
  if (!load<u8>(area)) return null;
  const at = area + offset;
  const error = new HostError(<ErrorKind>load<u8>(at), "");
  switch (error.kind) {
    case ErrorKind.Offline:
    case ErrorKind.Timeout:
      break;
    case ErrorKind.Throttled:
      if (load<u8>(at, 4)) error.retryAfterMs = load<u32>(at, 8);
      break;
    default:
      error.text = textAt(at + 4);
  }
  return error;
}

function pairs(all: Pair[]): usize {
  const list = heap.alloc(16 * all.length);
  for (let i = 0; i < all.length; i++) {
    const key = new Bytes(all[i].key), value = new Bytes(all[i].value);
    const at = list + 16 * i;
    store<u32>(at, key.ptr);
    store<u32>(at, key.len, 4);
    store<u32>(at, value.ptr, 8);
    store<u32>(at, value.len, 12);
  }
  return list;
}

let handler: (name: string, payload: Json) => Answer = (_name: string, _payload: Json) => Answer.unknownMethod();

/** Says what answers the direct methods. */
export function handle(answers: (name: string, payload: Json) => Answer): void {
  handler = answers;
}

/** The host asks for memory here, for what it passes in. */
export function cabi_realloc(old: usize, oldLen: usize, alignment: usize, len: usize): usize {
  if (len == 0) return alignment;
  // What is allocated is aligned to 16, which is more than anybody asks for.
  return old != 0 && oldLen != 0 ? heap.realloc(old, len) : heap.alloc(len);
}

/** What the host calls as `device:behaviour/methods@0.1.0#invoke`: `behaviour build` gives it that name. */
export function methods__invoke(name: usize, nameLen: usize, payload: usize, payloadLen: usize): usize {
  const method = String.UTF8.decodeUnsafe(name, nameLen);
  return handler(method, String.UTF8.decodeUnsafe(payload, payloadLen)).write();
}
