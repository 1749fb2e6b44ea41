-- Uses every interface and has every optional export, as ../cases expects.

local clock = require "behaviour.clock"
local config = require "behaviour.config"
local context = require "behaviour.context"
local jobs = require "behaviour.jobs"
local json = require "behaviour.json"
local log = require "behaviour.log"
local metrics = require "behaviour.metrics"
local power = require "behaviour.power"
local state = require "behaviour.state"
local telemetry = require "behaviour.telemetry"
local twin = require "behaviour.twin"

-- Returns the case and the text of an error of the host.
local function refused(call, ...)
  local ok, err = pcall(call, ...)
  if ok then
    return "not refused"
  end
  local tag = err.tag:gsub("-", " ")
  return err.val and tag .. ": " .. err.val or tag
end

-- Returns one line about each answer of the host.
local function host(payload)
  local lines = {}
  local function line(...)
    local values = table.pack(...)
    for at = 1, values.n do
      values[at] = values[at] == nil and "null" or tostring(values[at])
    end
    lines[#lines + 1] = table.concat(values, " ") .. "\n"
  end
  log.write("error", "a", { { "b", "c" }, { "ü", "" } })
  line(context.plugin_name(), context.device_id(), context.call_id(), context.remaining_ms(), context.attempt())
  clock.sleep_ms(1500)
  line(clock.now_rfc3339(), clock.now_ms())
  line(config.get "text", config.get "missing")
  for _, entry in ipairs(config.entries()) do
    line(entry[1] .. "=" .. entry[2])
  end
  line(twin.report_and_wait('{"a":1}', 1000))
  local wanted, reported = twin.desired(), twin.reported()
  line(wanted.body, wanted.version, reported.body, reported.version)
  telemetry.send(payload, "application/json", { { "x", "y" } })
  state.set("k1", "one")
  state.set("k2", "")
  line(state.get "k1", state.get "k2", state.get "k3")
  line(state.swap("k1", "two", nil), state.swap("k1", "one", "1"))
  line(state.swap("k3", nil, "three"), state.swap("k2", "", nil))
  local keys = state.keys("k", 9)
  line(keys[1], keys[2], #keys)
  state.delete "k1"
  local job = jobs.after_delay("first", "1", 2000)
  jobs.after_boot("second", "2", 60000)
  jobs.after_response("third", "3")
  line(job, jobs.cancel "none", jobs.cancel(job))
  power.request_reboot(10, "because")
  line "ok"
  line(refused(power.request_reboot, 10, "again"))
  metrics.add("opened", 2, { { "door", "front" } })
  metrics.add("opened", 0.5, { { "door", "front" } })
  metrics.set("heat", -1.5, {})
  metrics.set_bounds("wait_seconds", { 0.5, 1 })
  metrics.observe("wait_seconds", 0.25, {})
  line(context.trace_parent())
  return table.concat(lines)
end

local methods, deferred, desired, lifecycle = {}, {}, {}, {}

function methods.invoke(name, payload)
  if name == "host" then
    return { status = 200, payload = json.encode(host(payload)) }
  elseif name == "nothing" then
    return { status = 204 }
  elseif name == "invalid" then
    error { tag = "invalid-payload", val = payload }
  elseif name == "busy" then
    error { tag = "busy", val = 7 }
  elseif name == "failed" then
    error { tag = "failed", val = refused(twin.report, "[]") }
  elseif name == "other" then
    error { tag = "other", val = "" }
  end
  error { tag = "unknown-method" }
end

function deferred.run(name, payload)
  local refusals = {
    later = { tag = "retry", val = 5000 },
    ["some-time"] = { tag = "retry" },
    never = { tag = "reject", val = payload },
    odd = { tag = "other", val = "odd" },
  }
  if refusals[name] then
    error(refusals[name])
  end
  local outcomes = { ["not-waited-for"] = 0, rebooted = 1, ["host-restarted-only"] = 2, expired = 3 }
  local outcome = outcomes[jobs.boot_outcome_of_current()]
  log.write("debug", name, { { payload, outcome .. " " .. context.attempt() } })
end

function desired.changed(patch, version)
  log.write("info", patch, { { "version", tostring(version) } })
end

function lifecycle.start(previous)
  if previous then
    error("not after " .. previous, 0)
  end
end

function lifecycle.stop()
  log.write("warn", "stopped", {})
end

return { methods = methods, deferred = deferred, desired = desired, lifecycle = lifecycle }
