-- What src/domain/limits/state.rs does, in one step for the whole fleet, by the clock of Redis. A test compares the two.
--
-- KEYS[1] holds the state of one credential: ids and numbers only. ARGV[1] says what is asked, as JSON.
local SLOTS, PATIENCE, PLACE_MIN, PLACE_MAX = 512, 86400000, 50, 5000
local floor, max, min = math.floor, math.max, math.min

local a = cjson.decode(ARGV[1])
local now = a.now
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + floor(t[2] / 1000)
end

local raw = redis.call('GET', KEYS[1])
local s = raw and cmsgpack.unpack(raw)
-- Another server may be a replica that has not seen everything: what it knows is not enough.
if s and s.run ~= a.run then s = nil end
if not s then
  if not a.idle then return '{"k":"unknown"}' end
  s = { run = a.run, unknown = now - a.idle, held = {}, logs = {}, cool = 0, left = false, takes = 0, paid = { 0, 0 },
        tails = { { at = 0, group = '', items = 0, soon = 0 }, { at = 0, group = '', items = 0, soon = 0 } } }
end

local rules = a.rules
local function slot_of(ms) return max(1, floor(ms / SLOTS)) end

local function log(at, cost)
  for _, w in ipairs(rules.windows) do
    local name = tostring(w.ms)
    local l = s.logs[name] or {}
    s.logs[name] = l
    local n, i = floor(at / slot_of(w.ms)), #l
    while i > 0 and l[i][1] > n do i = i - 1 end
    if i > 0 and l[i][1] == n then l[i][2] = l[i][2] + cost else table.insert(l, i + 1, { n, cost }) end
  end
end

local function tidy()
  local alive = {}
  for _, h in ipairs(s.held) do
    if not h.settled and (h.at + rules.settle <= now or h.till <= now) then
      h.settled = true
      log(min(now, h.at + rules.settle), h.cost)
    end
    if h.till > now then alive[#alive + 1] = h end
  end
  s.held = alive
  for name, l in pairs(s.logs) do
    local ms = tonumber(name)
    local slot, kept = slot_of(ms), {}
    for _, e in ipairs(l) do
      if (e[1] + 1) * slot > now - ms then kept[#kept + 1] = e end
    end
    s.logs[name] = #kept > 0 and kept or nil
  end
  if s.left and s.left[2] <= now then s.left = false end
end

local function spacing(cost)
  local most = 0
  for _, w in ipairs(rules.windows) do
    local parts = max(1, w.ordinary)
    most = max(most, floor((w.ms * cost + parts - 1) / parts))
  end
  return most
end

local function place(first, ask)
  local t = s.tails[ask.urgent and 2 or 1]
  local together = t.group == ask.group and t.items + ask.items <= ask.batch
  if together and t.at > now and t.at + rules.settle >= first then
    t.items = t.items + ask.items
    return t.at
  end
  local apart = max(1, spacing(ask.cost))
  if first - now <= floor(apart / 2) and first >= t.soon + floor(apart / 2) then
    t.soon = first
    return first
  end
  local at = first
  if t.at > now then at = max(first, t.at + max(1, floor(apart * 49 / 50))) end
  t.at, t.group, t.items = at, ask.group, ask.items
  return at
end

local function take(ask)
  tidy()
  local till, why = now, 'window'
  local function wait(at, reason)
    if at > till then till, why = at, reason end
  end
  wait(s.cool, 'cool_down')
  if s.left and s.left[1] < ask.cost then wait(s.left[2], 'cool_down') end
  local under_way = 0
  for _, h in ipairs(s.held) do
    if not h.settled then under_way = under_way + h.cost end
  end
  for _, w in ipairs(rules.windows) do
    wait(s.unknown + w.ms, 'unknown')
    local limit = ask.urgent and w.limit or w.ordinary
    local l, used, slot = s.logs[tostring(w.ms)] or {}, under_way, slot_of(w.ms)
    for _, e in ipairs(l) do used = used + e[2] end
    if used + ask.cost > limit then
      local missing, at, enough = used + ask.cost - limit, now + w.ms, false
      for _, e in ipairs(l) do
        at = (e[1] + 1) * slot + w.ms
        if e[2] >= missing then enough = true break end
        missing = missing - e[2]
      end
      if not enough then
        for _, h in ipairs(s.held) do
          if not h.settled then
            at = h.at + w.ms
            if h.cost >= missing then break end
            missing = missing - h.cost
          end
        end
      end
      wait(max(at, now + 1), 'window')
    end
  end
  if rules.concurrency and #s.held >= rules.concurrency then
    wait(now + min(PLACE_MAX, max(PLACE_MIN, floor(s.takes / 2))), 'concurrency')
  end
  if till > now then return { k = 'wait', ms = place(till, ask) - now, why = why } end
  if rules.day then
    if s.paid[1] ~= rules.day then s.paid = { rules.day, 0 } end
    if s.paid[2] < ask.cost then return { k = 'pay' } end
    s.paid[2] = s.paid[2] - ask.cost
  end
  if s.left then s.left[1] = s.left[1] - ask.cost end
  s.held[#s.held + 1] = { id = ask.id, at = now, till = now + ask.lease, cost = ask.cost, settled = false }
  return { k = 'granted' }
end

local function find(id)
  for i, h in ipairs(s.held) do
    if h.id == id then return i, h end
  end
end

local answer = { k = 'done' }
if a.bought then
  if s.paid[1] == a.bought[1] then s.paid[2] = s.paid[2] + a.bought[2] else s.paid = { a.bought[1], a.bought[2] } end
end
if a.op == 'take' then
  answer = take(a.ask)
elseif a.op == 'back' then
  tidy()
  local i, h = find(a.id)
  if i then
    table.remove(s.held, i)
    if not h.settled then log(now, h.cost) end
    local took = max(0, now - h.at)
    s.takes = s.takes == 0 and took or floor((s.takes * 3 + took) / 4)
  end
elseif a.op == 'renew' then
  tidy()
  local _, h = find(a.id)
  if not h then
    answer = { k = 'gone' }
  else
    h.till = now + a.lease
    if a.again then
      if h.settled then answer = { k = 'gone' } else h.at = now end
    end
  end
elseif a.op == 'told' then
  if a.wait then s.cool = max(s.cool, now + min(PATIENCE, max(0, a.wait))) end
  if a.left then
    local left = a.left[1]
    for _, h in ipairs(s.held) do left = left - h.cost end
    left = max(0, left)
    if not (s.left and s.left[2] > now and s.left[1] < left) then
      s.left = { left, now + min(PATIENCE, max(0, a.left[2])) }
    end
  end
end
redis.call('SET', KEYS[1], cmsgpack.pack(s), 'PX', a.ttl)
return cjson.encode(answer)
