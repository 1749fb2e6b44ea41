-- The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
-- report (an object with additional properties).

local config = require "behaviour.config"
local json = require "behaviour.json"

local settings = {}

local function is_object(value)
  return type(value) == "table" and value ~= json.null and getmetatable(value) ~= json.is_array
end

-- Returns a number of seconds from 0 to 300, or `nil` and the reason.
function settings.seconds(value)
  if type(value) == "number" and value >= 0 and value <= 300 then
    return value
  end
  local text = json.encode(value)
  local found = #text <= 40 and text or ("a value of %d bytes"):format(#text)
  return nil, found .. " is not a number from 0 to 300"
end

-- Returns the value of a JSON text, or the text itself.
local function parsed(text)
  local value = json.decode(text)
  if value == nil then
    return text
  end
  return value
end

local function path_of(text)
  local path = {}
  for key in (text .. "."):gmatch("(.-)%.") do
    if key == "" or key:find("[%$%c ]") then
      return nil
    end
    path[#path + 1] = key
  end
  return path
end

-- Returns a copy of an object with the time at the path, or `nil` and the key that conflicts.
local function nested(object, path, time, at)
  at = at or 1
  local key = path[at]
  local copy = {}
  for name, value in pairs(object) do
    copy[name] = value
  end
  local taken = object[key]
  if taken ~= nil and (at == #path or not is_object(taken)) then
    return nil, key
  elseif at == #path then
    copy[key] = time
  else
    local inner, why = nested(taken or {}, path, time, at + 1)
    if not inner then
      return nil, why
    end
    copy[key] = inner
  end
  return copy
end

local readers = {}

function readers.delay_seconds(chosen, text)
  local delay, why = settings.seconds(parsed(text))
  chosen.delay = delay
  return why
end

function readers.property(chosen, text)
  chosen.path = path_of(text)
  if not chosen.path then
    return ("`%s` is not a list of keys separated by dots"):format(text)
  end
end

function readers.report(chosen, text)
  chosen.additional = parsed(text)
  if not is_object(chosen.additional) then
    return text .. " is not a JSON object"
  end
end

-- Returns the settings, or `nil` and the reason why they are invalid.
function settings.read()
  local chosen = { delay = 20, path = { "rebootTime" }, additional = {} }
  for _, entry in ipairs(config.entries()) do
    local key, text = entry[1], entry[2]
    if not readers[key] then
      return nil, key .. ": unknown setting; expected delay_seconds, property or report"
    end
    local why = readers[key](chosen, text)
    if why then
      return nil, ("%s: %s"):format(key, why)
    end
  end
  -- Reports a conflict of `report` with `property` before the reboot.
  local patch, taken = nested(chosen.additional, chosen.path, "now")
  if not patch then
    return nil, ("report: `%s` conflicts with `property`"):format(taken)
  end
  function chosen.patch(time)
    return (nested(chosen.additional, chosen.path, time))
  end
  return chosen
end

return settings
