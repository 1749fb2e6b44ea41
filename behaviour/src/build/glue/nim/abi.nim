## The canonical ABI of components: loads and stores values in the memory layout that the
## host uses. `behaviour build` writes this file; changes to it are lost.
##
## The host discards the instance after one call, so copies for the host are not freed.

import std/options

{.push stackTrace: off.}

type
  Json* = string
    ## UTF-8 JSON text.

  Failure*[E] = object of CatchableError
    ## A refusal of an exported function, or an error of the host.
    error*: E

proc refuse*[E](error: E) {.noreturn.} =
  ## Ends an exported function with an error of the contract.
  raise (ref Failure[E])(error: error, msg: $error)

proc failed*[E](function: string, error: E) {.noreturn.} =
  ## Raises an error of the host.
  raise (ref Failure[E])(error: error, msg: "`" & function & "`: " & $error)

proc trap*() {.importc: "__builtin_trap", nodecl, noreturn.}

proc at*[T](place: uint): T {.inline.} =
  cast[ptr T](place)[]

proc put*[T](place: uint, value: T) {.inline.} =
  cast[ptr T](place)[] = value

func rounded(offset, multiple: int): int =
  (offset + multiple - 1) div multiple * multiple

func layout*[T](_: typedesc[T]): tuple[align, size: int] =
  ## Returns the alignment and the size of a type. The glue defines those of records and
  ## variants.
  mixin layout
  when T is bool or T is enum:
    (1, 1)
  elif T is SomeNumber:
    (sizeof(T), sizeof(T))
  elif T is string or T is seq:
    (4, 8)
  elif T is Option:
    let inner = layout(typeof(default(T).get))
    (inner.align, rounded(inner.align + inner.size, inner.align))
  elif T is tuple:
    var (align, last) = (1, 0)
    for field in default(T).fields:
      let inner = layout(typeof(field))
      align = max(align, inner.align)
      last = rounded(last, inner.align) + inner.size
    (align, rounded(last, align))
  else:
    {.error: "no layout".}

proc taken*(place, len: uint): string =
  ## Returns a text of the host, and frees its memory.
  result = newString(int len)
  if len > 0:
    copyMem(addr result[0], cast[pointer](place), int len)
    dealloc(cast[pointer](place))

proc loadList*[T](place, len: uint): seq[T] =
  mixin layout, load
  const step = uint layout(T).size
  result = newSeqOfCap[T](int len)
  for i in 0'u ..< len:
    result.add load(place + i * step, T)

proc load*[T](place: uint, _: typedesc[T]): T =
  mixin layout, load
  when T is bool:
    at[uint8](place) != 0
  elif T is enum:
    T(at[uint8](place))
  elif T is SomeNumber:
    at[T](place)
  elif T is string:
    taken(at[uint](place), at[uint](place + 4))
  elif T is seq:
    loadList[typeof(default(T)[0])](at[uint](place), at[uint](place + 4))
  elif T is Option:
    type Inner = typeof(default(T).get)
    if at[uint8](place) == 0: none(Inner) else: some(load(place + uint layout(Inner).align, Inner))
  elif T is tuple:
    var next = 0
    for field in result.fields:
      let inner = layout(typeof(field))
      next = rounded(next, inner.align)
      field = load(place + uint next, typeof(field))
      next += inner.size
  else:
    {.error: "no layout".}

proc copied(text: string): uint =
  # The host also checks the address of an empty text.
  if text.len == 0: return 8
  let copy = alloc(text.len)
  copyMem(copy, unsafeAddr text[0], text.len)
  cast[uint](copy)

proc lowered*[T](items: openArray[T]): uint =
  ## Returns the address of a copy of a list in the host's layout.
  mixin layout, store
  const step = uint layout(T).size
  if items.len == 0: return 8
  result = cast[uint](alloc(items.len * int step))
  for i in 0 ..< items.len:
    store(result + uint(i) * step, items[i])

proc store*[T](place: uint, value: T) =
  mixin layout, store
  when T is bool or T is enum:
    put(place, uint8(ord(value)))
  elif T is SomeNumber:
    put(place, value)
  elif T is string:
    put(place, copied(value))
    put(place + 4, uint value.len)
  elif T is seq:
    put(place, lowered(value))
    put(place + 4, uint value.len)
  elif T is Option:
    put(place, uint8(ord(value.isSome)))
    if value.isSome:
      store(place + uint layout(typeof(value.get)).align, value.get)
  elif T is tuple:
    var next = 0
    for field in value.fields:
      let inner = layout(typeof(field))
      next = rounded(next, inner.align)
      store(place + uint next, field)
      next += inner.size
  else:
    {.error: "no layout".}

proc data*(text: string): uint {.inline.} =
  ## Returns the address of a text.
  if text.len == 0: 8'u else: cast[uint](unsafeAddr text[0])

proc cRealloc(old: pointer, len: uint): pointer {.importc: "realloc", header: "<stdlib.h>".}

proc cabiRealloc(old: pointer, oldLen, align, len: uint): pointer {.exportc: "behaviour_realloc", cdecl,
    codegenDecl: "__attribute__((export_name(\"cabi_realloc\"))) $# $#$#".} =
  if len == 0: return cast[pointer](align)
  result = cRealloc(old, len)
  if result == nil: trap()

{.pop.}
