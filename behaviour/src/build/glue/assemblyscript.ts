// The canonical ABI of components: loads and stores values in the memory layout that the
// host uses. `behaviour build` writes this file; changes to it are lost.
//
// The host discards the instance after one call, so no memory is freed.

/** Allocates memory for values that the host passes to the plugin. */
export function cabi_realloc(old: usize, oldLen: usize, alignment: usize, len: usize): usize {
  if (len == 0) return alignment;
  // The allocator aligns to 16 bytes, and no type needs more than 8.
  return old != 0 && oldLen != 0 ? heap.realloc(old, len) : heap.alloc(len);
}

/** UTF-8 text: an address and a length in bytes. */
export class Bytes {
  ptr: usize = 8;
  len: usize = 0;

  constructor(text: string | null) {
    if (text !== null && text.length > 0) {
      // The host refuses text that is not UTF-8, so unpaired surrogates are replaced.
      const buffer = String.UTF8.encode(text, false, String.UTF8.ErrorMode.REPLACE);
      this.ptr = changetype<usize>(buffer);
      this.len = buffer.byteLength;
    }
  }
}

export function loadText(at: usize): string {
  return text(load<u32>(at), load<u32>(at, 4));
}

export function text(ptr: usize, len: usize): string {
  return String.UTF8.decodeUnsafe(ptr, len);
}

export function storeText(at: usize, value: string): void {
  const bytes = new Bytes(value);
  store<u32>(at, bytes.ptr);
  store<u32>(at, bytes.len, 4);
}

export function loadBytes(at: usize): Uint8Array {
  return bytes(load<u32>(at), load<u32>(at, 4));
}

export function bytes(ptr: usize, len: usize): Uint8Array {
  const value = new Uint8Array(<i32>len);
  memory.copy(value.dataStart, ptr, len);
  return value;
}

export function storeBytes(at: usize, value: Uint8Array): void {
  store<u32>(at, addressOf(value));
  store<u32>(at, value.length, 4);
}

export function addressOf(value: Uint8Array): usize {
  // The host also checks the address of an empty list.
  return value.length > 0 ? value.dataStart : 8;
}

export function loadList<T>(at: usize, size: usize, element: (at: usize) => T): T[] {
  return list<T>(load<u32>(at), load<u32>(at, 4), size, element);
}

export function list<T>(ptr: usize, len: usize, size: usize, element: (at: usize) => T): T[] {
  const items = new Array<T>();
  for (let i: usize = 0; i < len; i++) items.push(element(ptr + i * size));
  return items;
}

export function storeList<T>(at: usize, items: T[], size: usize, element: (at: usize, value: T) => void): void {
  store<u32>(at, lowered<T>(items, size, element));
  store<u32>(at, items.length, 4);
}

export function lowered<T>(items: T[], size: usize, element: (at: usize, value: T) => void): usize {
  if (items.length == 0) return 8;
  const ptr = heap.alloc(size * items.length);
  for (let i = 0; i < items.length; i++) element(ptr + size * i, items[i]);
  return ptr;
}
