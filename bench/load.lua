-- Makes the requests of every row, each one unlike the others. wrk calls it.
--
--   wrk … -s load.lua URL -- HEAD BODY FIRST [TARGETS]
--
-- HEAD and BODY are templates of the request. `{n}` is a number that no other request of the run has, counted from FIRST,
-- `{phone}` ten digits made of it, in no order, `{length}` that of the body; `{id}` and `{email}` are of a random line of TARGETS.
-- `{tenth}` is `{phone}`, and in every tenth request that of one long before.

local head, body, first, n, targets
local values = {}

-- Every other piece is a placeholder's name.
local function split(template)
  local pieces, from = {}, 1
  for at, name, after in template:gmatch("(){(%l+)}()") do
    pieces[#pieces + 1] = template:sub(from, at - 1)
    pieces[#pieces + 1] = name
    from = after
  end
  pieces[#pieces + 1] = template:sub(from)
  return pieces
end

local function fill(pieces)
  local out = {}
  for i = 1, #pieces do
    out[i] = i % 2 == 1 and pieces[i] or values[pieces[i]]
  end
  return table.concat(out)
end

local function phone(n)
  return string.format("%.0f", 2e9 + n * 999983 % 8e9)
end

function init(args)
  head, body, first = split(args[1]), split(args[2]), tonumber(args[3])
  n = first
  math.randomseed(n + 1)
  if args[4] then
    targets = {}
    for line in io.lines(args[4]) do
      targets[#targets + 1] = line
    end
  end
end

function request()
  n = n + 1
  values.n = string.format("%d", n)
  values.phone = phone(n)
  -- An odd number before, so that it was no tenth itself.
  values.tenth = n % 10 == 0 and n > first + 9 and phone(math.max(n - 4999, first + 1 + first % 2)) or values.phone
  if targets then
    values.id, values.email = targets[math.random(#targets)]:match("([^\t]*)\t(.*)")
  end
  local text = fill(body)
  values.length = string.format("%d", #text)
  return fill(head) .. text
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format(
    '\n{"requests":%d,"micros":%d,"refused":%d,"broken":%d,"p50_us":%d,"p99_us":%d,"max_us":%d}\n',
    summary.requests, summary.duration, e.status, e.connect + e.read + e.write + e.timeout,
    latency:percentile(50), latency:percentile(99), latency.max))
end
