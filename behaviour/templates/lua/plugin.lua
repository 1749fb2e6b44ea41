-- Answers the method `greet` with its payload, and reports the time to the twin.

local clock = require "behaviour.clock"
local json = require "behaviour.json"
local log = require "behaviour.log"
local twin = require "behaviour.twin"

local methods = {}

-- `payload` is JSON text. To refuse the call, raise a case of `method-error` in
-- wit/types.wit.
function methods.invoke(name, payload)
  if name ~= "greet" then
    error { tag = "unknown-method" }
  end
  log.write("info", "greeted", { { "with", payload } })
  twin.report(json.encode { lastGreeted = clock.now_rfc3339() })
  return { status = 200, payload = '{"hello":' .. payload .. "}" }
end

return { methods = methods }
