-- JSON text to values and back. `behaviour build` writes this file; changes to it are lost.
--
-- Objects and arrays are tables. An array has the metatable `json.array`, so that an empty one
-- stays an array, and `null` is `json.null`. Integers of up to 64 bits are exact.

local json = {}

json.null = setmetatable({}, { __tostring = function() return "null" end })
json.is_array = {}

---Marks a table as an array, which matters only for an empty one.
---@param list table
---@return table
function json.array(list)
  return setmetatable(list, json.is_array)
end

local escapes = { ['"'] = '"', ["\\"] = "\\", ["/"] = "/", b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function fail(text, at, expected)
  error({ json = ("invalid JSON at byte %d: expected %s"):format(math.min(at, #text + 1), expected) })
end

local function point(text, at)
  local digits = text:match("^%x%x%x%x", at)
  return digits and tonumber(digits, 16) or fail(text, at, "four hexadecimal digits")
end

local function parse_string(text, at)
  local parts, start = {}, at
  while true do
    local stop = text:find('["\\%c]', start)
    if not stop or text:find("^%c", stop) then
      fail(text, stop or #text + 1, "the end of a string")
    end
    parts[#parts + 1] = text:sub(start, stop - 1)
    if text:byte(stop) == 34 then
      return table.concat(parts), stop + 1
    end
    local letter = text:sub(stop + 1, stop + 1)
    start = stop + 2
    if letter == "u" then
      local code = point(text, start)
      start = start + 4
      if code >= 0xD800 and code < 0xDC00 and text:find("^\\u[dD][c-fC-F]", start) then
        code = 0x10000 + (code - 0xD800) * 0x400 + point(text, start + 2) - 0xDC00
        start = start + 6
      elseif code >= 0xD800 and code < 0xE000 then
        code = 0xFFFD
      end
      parts[#parts + 1] = utf8.char(code)
    else
      parts[#parts + 1] = escapes[letter] or fail(text, stop, "an escape sequence")
    end
  end
end

local parse_value

local function parse_items(text, at, close, item)
  at = text:find("%S", at) or #text + 1
  if text:sub(at, at) == close then
    return at + 1
  end
  while true do
    at = item(at)
    at = text:find("%S", at) or #text + 1
    local mark = text:sub(at, at)
    if mark == close then
      return at + 1
    elseif mark ~= "," then
      fail(text, at, ("`,` or `%s`"):format(close))
    end
    at = at + 1
  end
end

function parse_value(text, at)
  at = text:find("%S", at) or #text + 1
  local mark = text:sub(at, at)
  if mark == "{" then
    local object = {}
    at = parse_items(text, at + 1, "}", function(from)
      from = text:find("%S", from) or #text + 1
      if text:sub(from, from) ~= '"' then
        fail(text, from, "a key")
      end
      local key, after = parse_string(text, from + 1)
      after = text:match("^%s*:()", after) or fail(text, after, "`:`")
      object[key], after = parse_value(text, after)
      return after
    end)
    return object, at
  elseif mark == "[" then
    local array = json.array({})
    at = parse_items(text, at + 1, "]", function(from)
      array[#array + 1], from = parse_value(text, from)
      return from
    end)
    return array, at
  elseif mark == '"' then
    return parse_string(text, at + 1)
  end
  for word, value in pairs { ["true"] = true, ["false"] = false, null = json.null } do
    if text:sub(at, at + #word - 1) == word then
      return value, at + #word
    end
  end
  local number = text:match("^-?%d+%.?%d*[eE]?[+-]?%d*", at)
  local value = number and not number:find("^-?0%d") and not number:find("%.$") and not number:find("%.[eE]") and tonumber(number)
  if not value then
    fail(text, at, "a value")
  end
  return value, at + #number
end

---Parses JSON text. Returns `nil` and a message if it is invalid.
---@param text string
---@return any value
---@return string? message
function json.decode(text)
  local ok, value = pcall(function()
    local value, at = parse_value(text, 1)
    at = text:find("%S", at)
    return at and fail(text, at, "the end of the text") or value
  end)
  if ok then
    return value
  elseif type(value) == "table" and value.json then
    return nil, value.json
  end
  error(value, 0)
end

local function quoted(text)
  return '"' .. text:gsub('[%c"\\]', function(letter)
    return ("\\u%04x"):format(letter:byte())
  end) .. '"'
end

local function sorted_keys(object)
  local keys = {}
  for key in pairs(object) do
    if type(key) ~= "string" then
      error(("a key of an object is a %s, not a string"):format(type(key)), 0)
    end
    keys[#keys + 1] = key
  end
  table.sort(keys)
  return keys
end

---Returns the JSON text of a value, with the keys of objects in alphabetical order.
---@param value any
---@return string
function json.encode(value)
  local kind = type(value)
  if kind == "string" then
    return quoted(value)
  elseif kind == "boolean" or math.type(value) == "integer" or value == json.null then
    return tostring(value)
  elseif kind == "number" then
    if value ~= value or value == math.huge or value == -math.huge then
      error("JSON has no number for " .. tostring(value), 2)
    end
    local short = ("%.15g"):format(value)
    return tonumber(short) == value and short or ("%.17g"):format(value)
  elseif kind ~= "table" then
    error(("JSON has no value for a %s"):format(kind), 2)
  end
  local parts = {}
  if getmetatable(value) == json.is_array or #value > 0 then
    for at, item in ipairs(value) do
      parts[at] = json.encode(item)
    end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  for at, key in ipairs(sorted_keys(value)) do
    parts[at] = quoted(key) .. ":" .. json.encode(value[key])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

return json
