// The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
// report (an object with additional properties).

import { config } from "../gen/behaviour";
import * as json from "./json";

export class Settings {
  delay: f64 = 20;
  property: string[] = ["rebootTime"];
  report: string = "{}";

  /** Reads the settings. Returns a one-line error, or null if all are valid. */
  read(): string | null {
    const entries = config.entries();
    for (let i = 0; i < entries.length; i++) {
      const reason = this.set(entries[i].key, entries[i].value);
      if (reason !== null) return "configuration: " + entries[i].key + ": " + reason;
    }
    const key = this.conflict();
    return key === null ? null : "configuration: report: `" + key + "` conflicts with `property`";
  }

  /** Returns a copy of `report` with the time at the path `property`. */
  patch(time: string): string {
    return nested(this.report, this.property, 0, time);
  }

  private set(key: string, value: string): string | null {
    if (key == "delay_seconds") {
      this.delay = seconds(value);
      return isNaN(this.delay) ? noSeconds(value) : null;
    }
    if (key == "property") {
      this.property = value.split(".");
      return this.property.every((part) => isKey(part))
        ? null
        : "`" + value + "` is not a list of keys separated by dots";
    }
    if (key == "report") {
      this.report = value;
      return json.isObject(value) ? null : value + " is not a JSON object";
    }
    return "unknown setting; expected delay_seconds, property or report";
  }

  /** Returns the key of `report` that conflicts with `property`, if any. */
  private conflict(): string | null {
    let object = this.report;
    const last = this.property.length - 1;
    for (let i = 0; i <= last; i++) {
      const there = json.find(object, this.property[i]);
      if (there === null) return null;
      object = there.of(object);
      if (i == last || !json.isObject(object)) return this.property[i];
    }
    return null;
  }
}

/** Parses a number of seconds from 0 to 300. Returns NaN for any other value. */
export function seconds(value: string): f64 {
  const found = json.number(value);
  return found >= 0 && found <= 300 ? found : NaN;
}

/** Returns the error for a value that is not a number of seconds. */
export function noSeconds(value: string): string {
  const found = value.length <= 40 ? value : "a long value";
  return found + " is not a number from 0 to 300";
}

/** Returns a copy of an object with the time at the path, of which `at` keys are used. */
function nested(object: string, path: string[], at: i32, time: string): string {
  if (at == path.length) return json.quoted(time);
  const there = json.find(object, path[at]);
  if (there === null) return json.withMember(object, path[at], nested("{}", path, at + 1, time));
  const inner = nested(there.of(object), path, at + 1, time);
  return object.substring(0, there.start) + inner + object.substring(there.end);
}

function isKey(key: string): bool {
  for (let i = 0; i < key.length; i++) {
    const c = key.charCodeAt(i);
    if (c <= 0x20 || c == 0x7f || c == 0x24) return false; // the hub reserves $
  }
  return key.length > 0;
}
