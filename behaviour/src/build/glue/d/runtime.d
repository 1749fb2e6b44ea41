/// The contract between a plugin and its host. `behaviour build` writes this file from the
/// project's WIT; changes to it are lost.
///
/// The host discards the instance after one call, so no memory is freed.
module behaviour;

import ldc.attributes : llvmAttr;
import ldc.intrinsics : llvm_trap;

private extern (C) void* malloc(size_t size);
private extern (C) void* realloc(void* block, size_t size);
private extern (C) void* memcpy(void* to, const(void)* from, size_t size);

/// UTF-8 JSON text.
alias Json = string;

/// A value that may be absent.
struct Option(T)
{
    bool present;
    T value;

    this(T value)
    {
        this.present = true;
        this.value = value;
    }

    /// Returns the value or, if it is absent, another one.
    inout(T) or(inout(T) other) inout
    {
        return present ? value : other;
    }
}

/// Returns an option with a value.
Option!T some(T)(T value)
{
    return Option!T(value);
}

/// An option without a value.
enum none(T) = Option!T.init;

/// Values of different types.
struct Tuple(Types...)
{
    Types items;
}

/// The error of a function that returns no reason.
struct NoReason
{
}

/// A value, or the reason why there is none.
struct Result(T, E)
{
    bool failed;
    E error;
    static if (!is(T == void))
    {
        T value;

        this(T value)
        {
            this.value = value;
        }
    }

    this(E error)
    {
        this.failed = true;
        this.error = error;
    }
}

/// Returns a text that consists of texts and integers.
string text(Values...)(Values values)
{
    char[24][Values.length] digits = void;
    string[Values.length] parts;
    size_t length;
    foreach (i, value; values)
    {
        static if (is(Values[i] : const(char)[]))
            parts[i] = cast(string) value;
        else static if (is(Values[i] == bool))
            parts[i] = value ? "true" : "false";
        else static if (is(Values[i] : ulong))
            parts[i] = abi.decimal(digits[i], value < 0, value < 0 ? -cast(ulong) value : value);
        else
            static assert(false, "`text` accepts texts, integers and bool, not " ~ Values[i].stringof);
        length += parts[i].length;
    }
    auto whole = allocate!char(length);
    size_t at;
    foreach (part; parts)
    {
        whole[at .. at + part.length] = part[];
        at += part.length;
    }
    return cast(string) whole;
}

/// Returns memory for some values, which is used until the end of the call.
T[] allocate(T)(size_t count)
{
    if (count == 0)
        return null;
    auto block = cast(T*) malloc(count * T.sizeof);
    if (block is null)
        abi.trap();
    return block[0 .. count];
}

/// The canonical ABI of components: loads and stores values in the memory layout that the
/// host uses.
struct abi
{
static:
    noreturn trap()
    {
        llvm_trap();
        while (true)
        {
        }
    }

    string decimal(return ref char[24] digits, bool negative, ulong rest)
    {
        size_t at = digits.length;
        do
        {
            digits[--at] = cast(char)('0' + rest % 10);
            rest /= 10;
        }
        while (rest != 0);
        if (negative)
            digits[--at] = '-';
        return cast(string) digits[at .. $];
    }

    size_t rounded(size_t offset, size_t multiple)
    {
        return (offset + multiple - 1) / multiple * multiple;
    }

    /// Returns the alignment of a type. The glue defines that of a variant.
    size_t alignment(T)()
    {
        static if (is(typeof(T.abiAlignment)))
            return T.abiAlignment;
        else static if (is(T == bool) || is(T == enum))
            return 1;
        else static if (is(T == U[], U))
            return 4;
        else static if (is(T == Option!U, U))
            return alignment!U;
        else static if (is(T == U[n], U, size_t n))
            return alignment!U;
        else static if (is(T == struct))
        {
            size_t most = 1;
            foreach (Field; typeof(T.tupleof))
                most = alignment!Field > most ? alignment!Field : most;
            return most;
        }
        else
            return T.sizeof;
    }

    size_t size(T)()
    {
        static if (is(typeof(T.abiSize)))
            return T.abiSize;
        else static if (is(T == bool) || is(T == enum))
            return 1;
        else static if (is(T == U[], U))
            return 8;
        else static if (is(T == Option!U, U))
            return rounded(alignment!U + size!U, alignment!U);
        else static if (is(T == U[n], U, size_t n))
            return n * size!U;
        else static if (is(T == struct))
        {
            size_t end = 0;
            foreach (Field; typeof(T.tupleof))
                end = rounded(end, alignment!Field) + size!Field;
            return rounded(end, alignment!T);
        }
        else
            return T.sizeof;
    }

    T load(T)(size_t place)
    {
        static if (is(typeof(T.abiSize)))
            return T.abiLoad(place);
        else static if (is(T == bool))
            return *cast(ubyte*) place != 0;
        else static if (is(T == enum))
            return cast(T)*cast(ubyte*) place;
        else static if (is(T == U[], U))
            return cast(T) list!U(*cast(size_t*) place, *cast(size_t*)(place + 4));
        else static if (is(T == Option!U, U))
            return *cast(ubyte*) place ? some(load!U(place + alignment!U)) : none!U;
        else static if (is(T == U[n], U, size_t n))
        {
            T value = void;
            foreach (i, ref item; value)
                item = load!U(place + i * size!U);
            return value;
        }
        else static if (is(T == struct))
        {
            T value;
            size_t end = 0;
            foreach (i, Field; typeof(T.tupleof))
            {
                end = rounded(end, alignment!Field);
                value.tupleof[i] = load!Field(place + end);
                end += size!Field;
            }
            return value;
        }
        else
            return *cast(T*) place;
    }

    U[] list(U)(size_t place, size_t length)
    {
        static if (U.sizeof == 1 && !is(U == bool))
            return length == 0 ? null : (cast(U*) place)[0 .. length];
        else
        {
            auto items = allocate!U(length);
            foreach (i, ref item; items)
                item = load!U(place + i * size!U);
            return items;
        }
    }

    void store(T)(size_t place, const T value)
    {
        static if (is(typeof(T.abiSize)))
            value.abiStore(place);
        else static if (is(T == bool) || is(T == enum))
            *cast(ubyte*) place = cast(ubyte) value;
        else static if (is(T == Option!U, U))
        {
            *cast(ubyte*) place = value.present;
            if (value.present)
                store!U(place + alignment!U, value.value);
        }
        else static if (is(T == U[n], U, size_t n))
        {
            foreach (i, ref item; value)
                store!U(place + i * size!U, item);
        }
        else static if (is(T : const(U)[], U))
        {
            *cast(size_t*) place = lowered(value);
            *cast(size_t*)(place + 4) = value.length;
        }
        else static if (is(T == struct))
        {
            size_t end = 0;
            foreach (i, Field; typeof(T.tupleof))
            {
                end = rounded(end, alignment!Field);
                store!Field(place + end, value.tupleof[i]);
                end += size!Field;
            }
        }
        else
            *cast(T*) place = value;
    }

    /// Returns the address of a list's elements.
    size_t lowered(U)(scope const(U)[] items)
    {
        // The host also checks the address of an empty list.
        if (items.length == 0)
            return 8;
        static if (U.sizeof == 1 && !is(U == bool))
            return cast(size_t) items.ptr;
        else
        {
            auto block = cast(size_t) allocate!ulong((items.length * size!U + 7) / 8).ptr;
            foreach (i, ref item; items)
                store!U(block + i * size!U, item);
            return block;
        }
    }
}

/// Copies a slice to a slice of the same length. The compiler refers to this function.
extern (C) void _d_array_slice_copy(void* to, size_t length, void* from, size_t others, size_t size)
{
    assert(length == others, "slices of different lengths");
    memcpy(to, from, length * size);
}

/// Allocates memory for values that the host passes to the plugin.
@llvmAttr("wasm-export-name", "cabi_realloc")
extern (C) void* behaviourRealloc(void* old, size_t oldLength, size_t alignment, size_t length)
{
    if (length == 0)
        return cast(void*) alignment;
    auto block = realloc(old, length);
    if (block is null)
        abi.trap();
    return block;
}
