/// The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
/// report (an object with additional properties).
module settings;

import behaviour;
import json;

struct Settings
{
    double delaySeconds = 20;
    string property = "rebootTime";
    string report = "{}";

    /// Reads the settings. Sets `reason` if one is invalid.
    static Settings read(out string reason)
    {
        Settings settings;
        foreach (entry; config.entries())
        {
            if (auto wrong = settings.set(entry[0], entry[1]))
                reason = text("configuration: ", entry[0], ": ", entry[1], " ", wrong);
        }
        if (!reason.length && !settings.patch("now").length)
            reason = text("configuration: report: a value conflicts with property ", settings.property);
        return settings;
    }

    /// Sets one of the settings. Returns the reason why the value is invalid, if it is.
    private string set(string key, string value)
    {
        switch (key)
        {
        case "delay_seconds":
            return seconds(value, delaySeconds) ? null : "is not a number from 0 to 300";
        case "property":
            property = value;
            return isPath(value) ? null : "is not a list of keys separated by dots";
        case "report":
            report = value;
            return isObject(value) ? null : "is not a JSON object";
        default:
            return "belongs to an unknown setting; expected delay_seconds, property or report";
        }
    }

    /// Returns a copy of `report` with the time at the path `property`, or nothing if a value
    /// is there.
    string patch(string time) const
    {
        return merged(report, property, text(`"`, time, `"`));
    }
}

/// Reads a number of seconds from 0 to 300.
bool seconds(string value, ref double result)
{
    double found;
    if (!number(value, found) || !(found >= 0 && found <= 300))
        return false;
    result = found;
    return true;
}

/// Returns a copy of an object with a value at a path, or nothing if there is another value.
private string merged(string object, string path, string value)
{
    size_t dot;
    while (dot < path.length && path[dot] != '.')
        dot++;
    auto key = path[0 .. dot];
    const isLast = dot == path.length;
    string members, inner = "{}";
    foreach (name, there; Members(object))
    {
        if (name != key)
            members = text(members, `"`, name, `":`, there, ",");
        else if (isLast || !isObject(there))
            return null;
        else
            inner = there;
    }
    auto last = isLast ? value : merged(inner, path[dot + 1 .. $], value);
    return last.length ? text("{", members, `"`, key, `":`, last, "}") : null;
}

private bool isPath(string path)
{
    size_t length;
    foreach (c; path)
    {
        if (c <= ' ' || c == 0x7f || c == '$' || c == '"' || c == '\\' || (c == '.' && length == 0))
            return false;
        length = c == '.' ? 0 : length + 1;
    }
    return length > 0;
}
