// Package behaviour is the contract between a plugin and its host. `behaviour build`
// writes this file from the project's WIT; changes to it are lost.
package behaviour

import (
	"encoding/json"
	"errors"
	"strings"
	"unsafe"
)

// Unused imports are an error in Go, and not every contract needs all of these.
var (
	_ json.RawMessage
	_ = errors.New
	_ = strings.ToValidUTF8
)

// at returns a pointer to the value at an offset from an address.
func at[T any](place unsafe.Pointer, offset uintptr) *T {
	return (*T)(unsafe.Add(place, offset))
}

// area allocates a buffer for a result or for the elements of a list. Go's collector
// does not move memory on the heap, so the host can use the buffer's address.
func area(size uintptr) unsafe.Pointer {
	words := make([]uint64, (size+7)/8)
	kept = append(kept, words)
	return unsafe.Pointer(unsafe.SliceData(words))
}

// kept refers to memory that the host will read. Buffers contain addresses as 32-bit
// numbers, which the collector does not treat as references.
var kept []any

// released lets the collector free the memory that the host has read.
func released() { kept = kept[:0] }

func address(place unsafe.Pointer) uint32 { return uint32(uintptr(place)) }

// text returns a string that shares the bytes. Go passes a string to the host as a pointer
// and a length.
func text[T ~[]byte](bytes T) string {
	return unsafe.String(unsafe.SliceData([]byte(bytes)), len(bytes))
}

// valid replaces bytes that are not UTF-8, since they would cause a trap.
func valid(text string) string { return strings.ToValidUTF8(text, "\uFFFD") }

func valueOf[T any](pointer *T) (value T) {
	if pointer != nil {
		value = *pointer
	}
	return value
}

func optional[T any](isSome bool, some func() T) *T {
	if !isSome {
		return nil
	}
	value := some()
	return &value
}

func optionalBytes(isSome bool, some func() []byte) []byte {
	if !isSome {
		return nil
	}
	return some()
}

func bit(value bool) uint32 {
	if value {
		return 1
	}
	return 0
}

func loadText(place unsafe.Pointer) string { return string(loadBytes(place)) }

func loadBytes(place unsafe.Pointer) []byte {
	return taken(*at[uint32](place, 0), *at[uint32](place, 4))
}

func loadList[T any](place unsafe.Pointer, size uintptr, load func(unsafe.Pointer) T) []T {
	return list(*at[uint32](place, 0), *at[uint32](place, 4), size, load)
}

func list[T any](address, count uint32, size uintptr, load func(unsafe.Pointer) T) []T {
	items := make([]T, count)
	for index := range items {
		items[index] = load(unsafe.Pointer(uintptr(address) + uintptr(index)*size))
	}
	taken(address, count*uint32(size))
	return items
}

func storeText(place unsafe.Pointer, value string) { storeBytes(place, valid(value)) }

func storeBytes(place unsafe.Pointer, value string) {
	kept = append(kept, value)
	*at[uint32](place, 0) = address(unsafe.Pointer(unsafe.StringData(value)))
	*at[uint32](place, 4) = uint32(len(value))
}

func storeList[T any](place unsafe.Pointer, items []T, size uintptr, store func(unsafe.Pointer, T)) {
	*at[uint32](place, 0) = address(lowered(items, size, store))
	*at[uint32](place, 4) = uint32(len(items))
}

func lowered[T any](items []T, size uintptr, store func(unsafe.Pointer, T)) unsafe.Pointer {
	block := area(max(size*uintptr(len(items)), 8))
	for index, item := range items {
		store(unsafe.Add(block, uintptr(index)*size), item)
	}
	return block
}

// sbrk returns memory outside of Go's heap, for values that the host passes to the
// plugin. An allocation on the heap may start the collector, which reads the clock, but
// cabi_realloc must not call imports. The adapter between WASI 0.1 and 0.2 also requests
// memory before Go's runtime has started. sbrk works in both cases. Linking to it needs
// -checklinkname=0.
//
//go:linkname sbrk runtime.sbrk
func sbrk(length uintptr) unsafe.Pointer

var arena struct {
	// The address of the next block once no block is in use.
	start           uint32
	next, end, size uint32
	// The number of blocks that the host has requested and the plugin has not yet
	// copied.
	inUse uint32
}

// The adapter never releases the blocks that it requested before this point.
func init() { arena.start, arena.inUse = arena.next, 0 }

// realloc allocates memory for values that the host passes to the plugin.
//
//go:wasmexport cabi_realloc
func realloc(old, oldLength, alignment, length uint32) uint32 {
	if length == 0 {
		return alignment
	}
	place := (arena.next + alignment - 1) &^ (alignment - 1)
	if arena.end < place || arena.end-place < length {
		arena.size = max(2*arena.size, length, 1<<16)
		place = uint32(uintptr(sbrk(uintptr(arena.size)))) // a page, so aligned
		if place == 0 {
			panic("out of memory")
		}
		arena.start, arena.end = place, place+arena.size
	}
	arena.next = place + length
	if oldLength > 0 {
		copy(passed(place, length), passed(old, oldLength))
	} else {
		arena.inUse++
	}
	return place
}

func passed(place, length uint32) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(place))), length)
}

// taken returns a copy of a block that the host has filled, and releases the block. Call
// it once per block.
func taken(place, length uint32) []byte {
	if length == 0 {
		return []byte{}
	}
	bytes := append([]byte(nil), passed(place, length)...)
	if arena.inUse--; arena.inUse == 0 {
		arena.next = arena.start
	}
	return bytes
}
