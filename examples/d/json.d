/// Reads members of JSON texts that the host has checked, so they are valid.
module json;

/// Returns the text of a member of an object, or nothing if it is missing.
string member(string object, string key)
{
    string found;
    if (!isObject(object))
        return found;
    foreach (name, value; Members(object))
        if (name == key)
            found = value;
    return found;
}

bool isObject(string value)
{
    return trimmed(value).length && trimmed(value)[0] == '{';
}

/// The names and texts of the members of an object.
struct Members
{
    string object;

    int opApply(scope int delegate(string name, string value) each)
    {
        auto rest = trimmed(trimmed(object)[1 .. $]);
        while (rest.length && rest[0] == '"')
        {
            const end = afterString(rest, 0);
            auto name = rest[1 .. end - 1];
            rest = trimmed(trimmed(rest[end .. $])[1 .. $]);
            const stop = afterValue(rest);
            if (auto result = each(name, trimmed(rest[0 .. stop])))
                return result;
            rest = rest[stop .. $].length ? trimmed(rest[stop + 1 .. $]) : null;
        }
        return 0;
    }
}

private extern (C) double strtod(const(char)* text, char** end);

/// Returns the number that a JSON text represents.
bool number(string value, out double result)
{
    char[32] digits = 0;
    if (!value.length || value.length >= digits.length || (value[0] != '-' && !isDigit(value[0])))
        return false;
    digits[0 .. value.length] = value[];
    char* end;
    result = strtod(digits.ptr, &end);
    return end == digits.ptr + value.length;
}

private bool isDigit(char c)
{
    return c >= '0' && c <= '9';
}

private string trimmed(string value)
{
    static bool isSpace(char c)
    {
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
    }

    while (value.length && isSpace(value[0]))
        value = value[1 .. $];
    while (value.length && isSpace(value[$ - 1]))
        value = value[0 .. $ - 1];
    return value;
}

/// Returns the index after the string that starts at an index.
private size_t afterString(string text, size_t at)
{
    for (at++; text[at] != '"'; at++)
        at += text[at] == '\\';
    return at + 1;
}

/// Returns the index after a value, which a comma, a bracket or the end follows.
private size_t afterValue(string text)
{
    size_t at, depth;
    while (at < text.length)
    {
        const c = text[at];
        if (c == '"')
        {
            at = afterString(text, at);
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']'))
            return at;
        depth += (c == '{' || c == '[') - (c == '}' || c == ']');
        at++;
    }
    return at;
}
