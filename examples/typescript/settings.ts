// The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
// report (an object with additional properties).

import { entries } from 'device:behaviour/config@0.1.2';
import type { MethodError } from 'device:behaviour/types@0.1.2';

type Dictionary = Record<string, unknown>;

export interface Settings {
  delay: number;
  patch(time: string): Dictionary;
}

export function readSettings(): Settings {
  let delay = 20;
  let path = ['rebootTime'];
  let additional: Dictionary = {};
  for (const [key, text] of entries()) {
    switch (key) {
      case 'delay_seconds':
        delay = seconds(parsed(text), (reason) => wrong(`delay_seconds: ${reason}`));
        break;
      case 'property':
        path = parsedPath(text);
        break;
      case 'report':
        additional = parsedObject(text);
        break;
      default:
        throw wrong(`${key}: unknown setting; expected delay_seconds, property or report`);
    }
  }
  const patch = (time: string) => nested(additional, path, time);
  patch('now'); // Reports a conflict of `report` with `property` before the reboot.
  return { delay, patch };
}

/** Checks that a value is a number of seconds from 0 to 300. */
export function seconds(value: unknown, refuse: (reason: string) => MethodError): number {
  if (typeof value === 'number' && value >= 0 && value <= 300) {
    return value;
  }
  const text = JSON.stringify(value);
  const found = text.length <= 40 ? text : `a value of ${text.length} bytes`;
  throw refuse(`${found} is not a number from 0 to 300`);
}

export function isObject(value: unknown): value is Dictionary {
  return value !== null && typeof value === 'object' && !Array.isArray(value);
}

/** Returns a copy of an object with the time at the path. */
function nested(object: Dictionary, [key, ...rest]: string[], time: string): Dictionary {
  if (key === undefined) {
    return object;
  }
  const inner = Object.hasOwn(object, key) ? object[key] : undefined;
  if (inner !== undefined && (rest.length === 0 || !isObject(inner))) {
    throw wrong(`report: \`${key}\` conflicts with \`property\``);
  }
  const value = rest.length === 0 ? time : nested(isObject(inner) ? inner : {}, rest, time);
  return { ...object, [key]: value };
}

function parsedPath(text: string): string[] {
  const path = text.split('.');
  if (!path.every((key) => /^[^$ \p{Cc}]+$/u.test(key))) {
    throw wrong(`property: \`${text}\` is not a list of keys separated by dots`);
  }
  return path;
}

function parsedObject(text: string): Dictionary {
  const value = parsed(text);
  if (!isObject(value)) {
    throw wrong(`report: ${text} is not a JSON object`);
  }
  return value;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function wrong(reason: string): MethodError {
  return { tag: 'failed', val: `configuration: ${reason}` };
}
