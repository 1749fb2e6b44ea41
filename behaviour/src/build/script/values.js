// The types of the contract. Each is a pair of functions. `out` checks a value of the
// plugin and converts it for the engine. `back` converts a value of the host for the
// plugin.
//
// The engine traps without a message if a value has the wrong type or a string contains an
// unpaired surrogate. It converts unsigned 32-bit numbers to signed ones, so an unsigned
// number whose highest bit is set arrives as a negative number.

// Returns a readable string for any value.
export function describe(value) {
  try {
    return format(value).toWellFormed();
  } catch {
    return `a value of type ${typeof value} that cannot be converted to a string`;
  }
}

function format(value) {
  if (value instanceof Error || typeof value !== 'object') {
    return String(value);
  }
  return JSON.stringify(value, (_key, it) => (typeof it === 'bigint' ? String(it) : it)) ?? String(value);
}

function summary(value) {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}…` : value);
    case 'bigint':
      return `${value}n`.slice(0, 40);
    case 'object':
      return value === null ? 'null' : Array.isArray(value) ? `an array of ${value.length}` : 'an object';
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    default:
      return `a ${typeof value}`;
  }
}

function invalid(at, value, expected, Kind = TypeError) {
  return new Kind(`${at} is ${summary(value)}, not ${expected}`);
}

const same = (value) => value;

// A type whose values the engine passes unchanged if `fits` accepts them.
const plain = (expected, fits) => ({
  out(value, at) {
    if (!fits(value)) {
      throw invalid(at, value, expected);
    }
    return value;
  },
  back: same,
});

export const bool = plain('a boolean', (value) => typeof value === 'boolean');
export const float = plain('a number', (value) => typeof value === 'number');
export const char = plain(
  'a string of one character',
  (value) => typeof value === 'string' && value.isWellFormed() && [...value].length === 1,
);
export const oneOf = (...names) => plain(`one of ${names.join(', ')}`, (value) => names.includes(value));

const isString = plain('a string', (value) => typeof value === 'string');
export const text = { out: (value, at) => isString.out(value, at).toWellFormed(), back: same };

function integer(bits, signed) {
  const min = signed ? -(2 ** (bits - 1)) : 0;
  const end = signed ? 2 ** (bits - 1) : 2 ** bits;
  return {
    out(value, at) {
      if (!Number.isInteger(value) || value < min || value >= end) {
        const Kind = typeof value === 'number' ? RangeError : TypeError;
        throw invalid(at, value, `an integer from ${BigInt(min)} to ${BigInt(end) - 1n}`, Kind);
      }
      return bits === 32 && value >= 2 ** 31 ? value - 2 ** 32 : value;
    },
    back: (value) => (!signed && value < 0 ? value + 2 ** bits : value),
  };
}

export const [u8, u16, u32, u64] = [8, 16, 32, 64].map((bits) => integer(bits, false));
export const [s8, s16, s32, s64] = [8, 16, 32, 64].map((bits) => integer(bits, true));

export const list = (item) => ({
  out(value, at) {
    if (!Array.isArray(value)) {
      throw invalid(at, value, 'an array');
    }
    return Array.from(value, (it, index) => item.out(it, `${at}[${index}]`));
  },
  back: (value) => Array.from(value, item.back),
});

const octets = list(u8);
export const bytes = {
  out(value, at) {
    if (!(value instanceof Uint8Array) && !Array.isArray(value)) {
      throw invalid(at, value, 'a Uint8Array');
    }
    // This copy throws if the buffer is detached. The engine would trap.
    return new Uint8Array(Array.isArray(value) ? octets.out(value, at) : value);
  },
  back: same,
};

export const option = (some) => ({
  out: (value, at) => (value == null ? null : some.out(value, at)),
  back: (value) => (value == null ? null : some.back(value)),
});

export const tuple = (...items) => ({
  out(value, at) {
    if (!Array.isArray(value) || value.length !== items.length) {
      throw invalid(at, value, `an array of ${items.length}`);
    }
    return items.map((item, index) => item.out(value[index], `${at}[${index}]`));
  },
  back: (value) => items.map((item, index) => item.back(value[index])),
});

export const record = (fields) => ({
  out(value, at) {
    if (value === null || typeof value !== 'object') {
      throw invalid(at, value, 'an object');
    }
    return eachOf(fields, (type, name) => type.out(value[name], `${at}.${name}`));
  },
  back: (value) => eachOf(fields, (type, name) => type.back(value[name])),
});

const eachOf = (fields, convert) =>
  Object.fromEntries(Object.entries(fields).map(([name, type]) => [name, convert(type, name)]));

// Returns the type of a variant. `cases` maps each case to the type of its `val`, or to null.
export const variant = (cases) => ({
  has: (value) => typeof value?.tag === 'string' && Object.hasOwn(cases, value.tag),
  out(value, at) {
    if (!this.has(value)) {
      const tags = Object.keys(cases).join(', ');
      throw invalid(at, value, `an object whose \`tag\` is one of ${tags}`);
    }
    const { tag, val } = value;
    return cases[tag] ? { tag, val: cases[tag].out(val, `${at}.val`) } : { tag };
  },
  back: ({ tag, val }) => (cases[tag] ? { tag, val: cases[tag].back(val) } : { tag }),
});

// Wraps a function of the host so that it takes and returns values of the plugin.
export function lent(name, host, parameters, result) {
  const types = Object.entries(parameters);
  const call = (...args) => {
    const sent = types.map(([parameter, type], at) => type.out(args[at], `\`${name}\`: ${parameter}`));
    return result(name, () => host(...sent));
  };
  return Object.defineProperty(call, 'name', { value: name });
}

// Returns a function that calls the host and converts the outcome. It throws the host's
// error with its case as the payload. `ok` and `error` are null if they have no value.
export const result = (ok, error) => (name, call) => {
  let returned;
  try {
    returned = call();
  } catch (thrown) {
    if (!Object.hasOwn(thrown, 'payload')) {
      throw thrown;
    }
    const payload = error?.back(thrown.payload);
    const why = payload?.tag ? [payload.tag, payload.val ?? []].flat() : [payload];
    throw Object.assign(new Error([`\`${name}\``, ...why.map(describe)].join(': ')), { payload });
  }
  return ok?.back(returned);
};
