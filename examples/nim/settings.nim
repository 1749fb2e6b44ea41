## The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
## report (an object with additional properties).

import std/[json, options, strutils]
import gen/[config, types]

type Settings* = object
  delaySeconds*: float
  property: seq[string]
  report: JsonNode

proc seconds*(value: JsonNode): Option[float] =
  ## Returns a number of seconds from 0 to 300.
  if value.kind in {JInt, JFloat} and value.getFloat >= 0 and value.getFloat <= 300:
    result = some(value.getFloat)

proc parsed(text: string): JsonNode =
  ## Returns the value of a JSON text, or null.
  try: parseJson(text)
  except ValueError: newJNull()

proc wrong(setting, reason: string) {.noreturn.} =
  refuse MethodError.failed("configuration: " & setting & ": " & reason)

proc patch*(settings: Settings, time: string): JsonNode =
  ## Returns a copy of `report` with the time at the path `property`.
  result = settings.report.copy
  var place = result
  for key in settings.property[0 ..< ^1]:
    if key notin place: place[key] = newJObject()
    place = place[key]
    if place.kind != JObject: return newJNull()
  if settings.property[^1] in place: return newJNull()
  place[settings.property[^1]] = %time

proc isKey(key: string): bool =
  for character in key:
    if character <= ' ' or character in {'\x7f', '$'}: return false
  key != ""

proc readSettings*(): Settings =
  ## Reads the settings, and refuses the call if one is invalid.
  result = Settings(delaySeconds: 20, property: @["rebootTime"], report: newJObject())
  for (key, text) in config.entries():
    case key
    of "delay_seconds":
      let delay = seconds(parsed(text))
      if delay.isNone: wrong key, text & " is not a number from 0 to 300"
      result.delaySeconds = delay.get
    of "property":
      result.property = text.split('.')
      for part in result.property:
        if not part.isKey: wrong key, text & " is not a list of keys separated by dots"
    of "report":
      result.report = parsed(text)
      if result.report.kind != JObject: wrong key, text & " is not a JSON object"
    else:
      wrong key, text & " belongs to an unknown setting; expected delay_seconds, property or report"
  if result.patch("now").kind == JNull:
    wrong "report", "a value conflicts with property " & result.property.join(".")
