-- Globals that need the host: `require`, `print`, and random numbers.

local find = ...
local loaded, running = {}, {}

function require(name)
  if loaded[name] == nil then
    if running[name] then
      error("module `" .. name .. "` requires itself", 2)
    end
    local module, file = find(name)
    if not module then
      error("module `" .. name .. "` not found", 2)
    end
    if file then
      running[name] = true
      module = assert(load(module, "@" .. file, "t"))(name)
      running[name] = nil
    end
    loaded[name] = module == nil and true or module
  end
  return loaded[name]
end

for _, name in ipairs { "string", "table", "math", "utf8", "coroutine", "debug" } do
  loaded[name] = _G[name]
end
loadfile, dofile = nil, nil

function print(...)
  local texts = table.pack(...)
  for at = 1, texts.n do
    texts[at] = tostring(texts[at])
  end
  require("behaviour.log").write("info", table.concat(texts, " "), {})
end

-- Each call starts from the same state. The seed comes from those interfaces that the
-- plugin uses, since every other one would be an import more.
local random, seed = math.random, math.randomseed
function math.random(...)
  local seeds = 0
  for _, source in ipairs { { "behaviour.clock", "now_ms" }, { "behaviour.context", "call_id" } } do
    local module = find(source[1])
    if module then
      for _, octet in ipairs { tostring(module[source[2]]()):byte(1, -1) } do
        seeds = seeds * 31 + octet
      end
    end
  end
  seed(seeds)
  math.random = random
  return random(...)
end
function math.randomseed(...)
  math.random = random
  return seed(...)
end
