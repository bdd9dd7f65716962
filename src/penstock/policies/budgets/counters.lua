-- The counters in Redis: `EmbeddedCounters` in Lua, step for step. One script, so that Redis runs each call whole.
--
-- Lua's numbers are doubles: whole ones are exact up to 2^53. An amount is therefore two of them, high * 10^15 + low
-- atto-dollars with 0 <= low < 10^15: thousandths of dollars (up to 9 * 10^12 dollars) and what is below.
-- All names begin with the prefix in braces, so that a cluster keeps them on one node.

local P, action, now = KEYS[1], ARGV[1], tonumber(ARGV[2])
local a = cmsgpack.unpack(ARGV[3])
if now == 0 then
  local t = redis.call('TIME')
  now = tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local BASE, MINUTE, TIGHT, REMEMBERED = 1e15, 60000000, 64, 60
local function text(n) return string.format('%.0f', n) end
local function fit(h, l) local c = math.floor(l / BASE); return h + c, l - c * BASE end
local function more(h1, l1, h2, l2) return h1 > h2 or (h1 == h2 and l1 > l2) end

local function get(key, hf, lf)
  local v = redis.call('HMGET', key, hf, lf)
  return tonumber(v[1] or '0') or 0, tonumber(v[2] or '0') or 0
end
local function set(key, hf, lf, h, l)
  if h == 0 and l == 0 then redis.call('HDEL', key, hf, lf)
  else redis.call('HSET', key, hf, text(h), lf, text(l)) end
end
local function add(key, hf, lf, h, l)
  local oh, ol = get(key, hf, lf)
  h, l = fit(oh + h, ol + l)
  set(key, hf, lf, h, l)
  return h, l
end
local function counter(name) return P .. ':c:' .. name end
local function keep(name, forgotten)
  if forgotten > 0 then redis.call('EXPIREAT', counter(name), text(forgotten)) end
end

-- rates: what a call takes, what is left, how long to wait

local function units(rate, tokens)
  if rate[2] == 'requests' then return MINUTE end
  return math.min(tokens, rate[3]) * MINUTE
end
local function level(rate)
  local whole = rate[3] * MINUTE
  local v = redis.call('HMGET', P .. ':l:' .. rate[1], 'level', 'at')
  if not v[1] then return whole end
  return math.min(whole, tonumber(v[1]) + math.max(0, now - tonumber(v[2])) * rate[3])
end
local function put_level(rate, left)
  local key = P .. ':l:' .. rate[1]
  redis.call('HSET', key, 'level', text(left), 'at', text(now))
  redis.call('PEXPIRE', key, text(math.ceil((rate[3] * MINUTE - left) / rate[3] / 1000) + 120000))
end
local function held(rate) return tonumber(redis.call('GET', P .. ':n:' .. rate[1]) or '0') end
local function left_of(rate)
  if rate[2] == 'concurrent' then return {text(math.max(0, rate[3] - held(rate))), '0'} end
  local left = level(rate)
  return {text(math.max(0, math.floor(left / MINUTE))), text(math.ceil((rate[3] * MINUTE - left) / rate[3]))}
end
local function lefts(rates)
  local found = {}
  for i, rate in ipairs(rates) do found[i] = left_of(rate) end
  return found
end

local function give_back(lease, tokens)
  for _, one in ipairs(lease.amounts) do
    add(counter(one[1]), 'rh', 'rl', -one[2], -one[3])
  end
  for _, rate in ipairs(lease.rates) do
    if rate[2] == 'concurrent' then
      if redis.call('DECR', P .. ':n:' .. rate[1]) <= 0 then redis.call('DEL', P .. ':n:' .. rate[1]) end
    elseif rate[2] == 'tokens' and tokens >= 0 then
      local left = level(rate) + units(rate, lease.tokens) - tokens * MINUTE
      put_level(rate, math.min(left, rate[3] * MINUTE))
    end
  end
end
local function take_lease(id)
  local key = P .. ':lease:' .. id
  local packed = redis.call('GET', key)
  if not packed then return nil end
  redis.call('DEL', key)
  redis.call('ZREM', P .. ':leases', id)
  return cmsgpack.unpack(packed)
end
local function expire()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. ':leases', '-inf', text(now), 'LIMIT', 0, 100)) do
    local lease = take_lease(id)
    if lease then give_back(lease, -1) else redis.call('ZREM', P .. ':leases', id) end
  end
end

if action == 'reserve' then
  expire()
  local lease_key = P .. ':lease:' .. a.id
  if redis.call('EXISTS', lease_key) == 1 then return {'', 0, '0', '0', '0', '0', '0', 0, {}} end
  if redis.call('EXISTS', P .. ':filled:' .. a.ledger) == 0 then return {'unfilled'} end
  local waits, tight = nil, 0
  for i, claim in ipairs(a.claims) do
    if claim[6] then
      local sh, sl = 0, 0
      for _, piece in ipairs(claim[2]) do
        local h, l = get(counter(piece), 'h', 'l')
        sh, sl = fit(sh + h, sl + l)
      end
      local rh, rl = get(counter(claim[1]), 'rh', 'rl')
      local ah, al = claim[3], claim[4]
      local wh, wl = fit(sh + ah, sl + al)
      if more(wh, wl, claim[5][1], claim[5][2]) then
        return {'budget', i - 1, text(sh), text(sl), text(rh), text(rl), '0', 0, {}}
      end
      wh, wl = fit(wh + rh, wl + rl)
      if more(wh, wl, claim[5][1], claim[5][2]) then
        waits = waits or {'reserved', i - 1, text(sh), text(sl), text(rh), text(rl), '0', 0, {}}
      else
        -- room < TIGHT * amount, where room is without this amount
        local oh, ol = fit(claim[5][1] - sh - rh, claim[5][2] - sl - rl)
        local th, tl = fit(TIGHT * ah, 0)
        for _ = 1, TIGHT do th, tl = fit(th, tl + al) end
        if more(th, tl, oh, ol) then tight = 1 end
      end
    end
  end
  if waits then return waits end
  local reason, index, longest = '', 0, 0
  for i, rate in ipairs(a.rates) do
    local wait = nil
    if rate[2] == 'concurrent' then
      if held(rate) >= rate[3] then wait = 0 end
    else
      local lacking = units(rate, a.tokens) - level(rate)
      if lacking > 0 then wait = math.ceil(lacking / rate[3]) end
    end
    if wait and (reason == '' or wait > longest) then reason, index, longest = rate[2], i - 1, wait end
  end
  if reason ~= '' then return {reason, index, '0', '0', '0', '0', text(longest), tight, lefts(a.rates)} end
  local amounts = {}
  for _, claim in ipairs(a.claims) do
    if claim[3] ~= 0 or claim[4] ~= 0 then
      add(counter(claim[1]), 'rh', 'rl', claim[3], claim[4])
      keep(claim[1], claim[7])
      amounts[#amounts + 1] = {claim[1], claim[3], claim[4]}
    end
  end
  for _, rate in ipairs(a.rates) do
    if rate[2] == 'concurrent' then redis.call('INCR', P .. ':n:' .. rate[1])
    else put_level(rate, level(rate) - units(rate, a.tokens)) end
  end
  local lease = {amounts = amounts, rates = a.rates, tokens = a.tokens}
  redis.call('SET', lease_key, cmsgpack.pack(lease))
  redis.call('ZADD', P .. ':leases', text(now + a.lease), a.id)
  return {'', 0, '0', '0', '0', '0', '0', tight, lefts(a.rates)}

elseif action == 'settle' then
  local done = P .. ':done:' .. a.id
  if redis.call('EXISTS', done) == 1 then return 0 end
  local lease = take_lease(a.id)
  if lease then give_back(lease, a.tokens) end
  redis.call('SET', done, 1, 'EX', REMEMBERED)
  local filled = tonumber(redis.call('GET', P .. ':filled:' .. a.ledger) or '0')
  local filling = tonumber(redis.call('GET', P .. ':filling:' .. a.ledger) or '-1')
  for _, charge in ipairs(a.charges) do
    local name, h, l, recorded = charge[1], charge[2], charge[3], charge[4]
    if recorded >= filled and (h ~= 0 or l ~= 0) then
      add(counter(name), 'h', 'l', h, l)
      add(counter(name), 'h:' .. a.ledger, 'l:' .. a.ledger, h, l)
      keep(name, charge[5])
      redis.call('SADD', P .. ':names:' .. a.ledger, name)
      if filling >= 0 and recorded >= filling then
        add(P .. ':since:' .. a.ledger, 'h' .. name, 'l' .. name, h, l)
        redis.call('SADD', P .. ':since-names:' .. a.ledger, name)
      end
    end
  end
  return 1

elseif action == 'renew' then
  for _, id in ipairs(a.ids) do
    local score = redis.call('ZSCORE', P .. ':leases', id)
    if score and tonumber(score) < now + a.lease then
      redis.call('ZADD', P .. ':leases', text(now + a.lease), id)
    end
  end
  return 1

elseif action == 'begin' then
  local filling, filler = P .. ':filling:' .. a.ledger, P .. ':filler:' .. a.ledger
  if not redis.call('SET', filling, text(a.cut), 'NX', 'EX', a.patience) then
    -- A worker that was killed while it filled is started again under its name, and takes over from itself.
    if a.owner == '' or redis.call('GET', filler) ~= a.owner then return 0 end
    redis.call('SET', filling, text(a.cut), 'EX', a.patience)
  end
  redis.call('SET', filler, a.owner, 'EX', a.patience)
  redis.call('DEL', P .. ':since:' .. a.ledger, P .. ':since-names:' .. a.ledger)
  return 1

elseif action == 'end' then
  local L = a.ledger
  if redis.call('GET', P .. ':filling:' .. L) ~= text(a.cut) then return 0 end
  local since, names = P .. ':since:' .. L, P .. ':names:' .. L
  local wanted = {}
  for _, name in ipairs(redis.call('SMEMBERS', names)) do wanted[name] = {0, 0, 0} end
  for _, one in ipairs(a.sums) do wanted[one[1]] = {one[2], one[3], one[4]} end
  for _, name in ipairs(redis.call('SMEMBERS', P .. ':since-names:' .. L)) do
    local h, l = get(since, 'h' .. name, 'l' .. name)
    local old = wanted[name] or {0, 0, 0}
    h, l = fit(old[1] + h, old[2] + l)
    wanted[name] = {h, l, old[3]}
  end
  redis.call('DEL', names)
  for name, sum in pairs(wanted) do
    local key = counter(name)
    local oh, ol = get(key, 'h:' .. L, 'l:' .. L)
    local h, l = fit(sum[1] - oh, sum[2] - ol)
    set(key, 'h:' .. L, 'l:' .. L, sum[1], sum[2])
    add(key, 'h', 'l', h, l)
    if sum[1] ~= 0 or sum[2] ~= 0 then redis.call('SADD', names, name) end
    keep(name, sum[3])
  end
  redis.call('SET', P .. ':filled:' .. L, text(a.cut))
  redis.call('DEL', P .. ':filling:' .. L, since, P .. ':since-names:' .. L)
  return 1

elseif action == 'read' then
  expire()
  local found = {}
  for i, name in ipairs(a.names) do
    local h, l = get(counter(name), 'h', 'l')
    local rh, rl = get(counter(name), 'rh', 'rl')
    local mh, ml = get(counter(name), 'h:' .. a.ledger, 'l:' .. a.ledger)
    found[i] = {text(h), text(l), text(rh), text(rl), text(mh), text(ml)}
  end
  return found
end
