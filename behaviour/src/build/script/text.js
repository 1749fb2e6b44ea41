// TextEncoder and TextDecoder, which this engine lacks. They support only UTF-8, and no
// streaming.

globalThis.TextEncoder = class TextEncoder {
  encode(text = '') {
    const octets = unescape(encodeURIComponent(String(text).toWellFormed()));
    return Uint8Array.from(octets, (octet) => octet.charCodeAt(0));
  }
};

globalThis.TextDecoder = class TextDecoder {
  constructor(label = 'utf-8', { fatal = false } = {}) {
    if (!/^utf-?8$/i.test(label)) {
      throw new RangeError(`unsupported encoding ${label}; only utf-8 is supported`);
    }
    this.fatal = fatal;
  }

  decode(given = []) {
    const octets = ArrayBuffer.isView(given)
      ? new Uint8Array(given.buffer, given.byteOffset, given.byteLength)
      : new Uint8Array(given);
    const marked = octets[0] === 0xef && octets[1] === 0xbb && octets[2] === 0xbf;
    let text = '';
    for (let at = marked ? 3 : 0; at < octets.length; ) {
      const lead = octets[at++];
      let more = lead < 0x80 ? 0 : lead < 0xc2 ? -1 : lead < 0xe0 ? 1 : lead < 0xf0 ? 2 : lead < 0xf5 ? 3 : -1;
      let point = more > 0 ? lead & (0x3f >> more) : lead;
      // The range of the second byte excludes overlong forms and surrogates.
      let low = lead === 0xe0 ? 0xa0 : lead === 0xf0 ? 0x90 : 0x80;
      let high = lead === 0xed ? 0x9f : lead === 0xf4 ? 0x8f : 0xbf;
      for (; more > 0 && octets[at] >= low && octets[at] <= high; more--, low = 0x80, high = 0xbf) {
        point = (point << 6) | (octets[at++] & 0x3f);
      }
      if (more !== 0 && this.fatal) {
        throw new TypeError('invalid UTF-8');
      }
      text += String.fromCodePoint(more === 0 ? point : 0xfffd);
    }
    return text;
  }
};
