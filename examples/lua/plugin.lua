-- The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
-- like guest-reboot, which is written in Rust.

local clock = require "behaviour.clock"
local json = require "behaviour.json"
local log = require "behaviour.log"
local twin = require "behaviour.twin"
local settings = require "settings"

local methods = {}

local function refuse(tag, ...)
  error({ tag = tag, val = (string.format(...)) })
end

-- Returns the delay in the payload, if any. Payloads that are not objects have none.
local function requested_delay(payload)
  local requested = json.decode(payload)
  if type(requested) ~= "table" or requested == json.null or requested.delaySeconds == nil then
    return nil
  end
  local delay, why = settings.seconds(requested.delaySeconds)
  return delay or refuse("invalid-payload", "delaySeconds: %s", why)
end

local function describe(err)
  return err.val and ("%s: %s"):format(err.tag, err.val) or err.tag
end

-- Reports the patch, and returns the log message about the result.
local function report(patch)
  local ok, err = pcall(twin.report_and_wait, patch, 5000)
  if ok then
    return "Device twins updated with latest rebootTime"
  elseif err.tag == "offline" or err.tag == "timeout" then
    return "Device twins will be updated when the hub answers again"
  end
  return refuse("failed", "reported properties: %s", describe(err))
end

function methods.invoke(name, payload)
  if name ~= "rebootDevice" then
    error { tag = "unknown-method" }
  end
  local chosen, why = settings.read()
  if not chosen then
    refuse("failed", "configuration: %s", why)
  end
  local delay = requested_delay(payload) or chosen.delay

  log.write("info", "Rebooting device", {})
  local ok, err = pcall(clock.sleep_ms, delay * 1000 // 1)
  if not ok then
    refuse("failed", "reboot: %s", describe(err))
  end
  log.write("info", "Device rebooted", {})

  log.write("info", report(json.encode(chosen.patch(clock.now_rfc3339()))), {})
  return { status = 200, payload = '{"Response": "This is the response from the device"}' }
end

return { methods = methods }
