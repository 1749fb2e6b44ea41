-- Answers the method `fetch` with the response to a GET request to the URL in its payload.

local http = require "behaviour.http"
local json = require "behaviour.json"

local methods = {}

-- `payload` is JSON text. To refuse the call, raise a case of `method-error` in
-- wit/types.wit.
function methods.invoke(name, payload)
  if name ~= "fetch" then
    error { tag = "unknown-method" }
  end
  local url = json.decode(payload)
  if type(url) ~= "string" then
    error { tag = "invalid-payload", val = "expected a URL in quotes" }
  end
  local ok, response = pcall(http.send, {
    method = "GET", url = url, headers = { { "accept", "application/json" } }, body = "",
  })
  if not ok then
    local cause = response -- a case of `request-error` in wit/http.wit
    error { tag = "failed", val = cause.val }
  end
  -- The body must be JSON, since it is the answer's payload.
  return { status = response.status, payload = response.body }
end

return { methods = methods }
