#!lua name=mg
-- The coordinator's writes, each atomic. Keys and tables: common/store/README.md.
-- Every function answers {status, ...}: OK, HELD, STALE, NOT_FOUND, CONFLICT, RANGE, NO_RECORD.
-- Raise VERSION (and kRedisLibraryVersion) with every change.
local VERSION = 3

-- Lua's own conversion would write large numbers as 1e+15.
local function int(number) return string.format('%.0f', number) end

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- nil if `epoch` leads, else the answer that refuses it.
local function refuse_stale(leader, epoch)
  local current = tonumber(redis.call('HGET', leader, 'epoch') or '0')
  if current == 0 or tonumber(epoch) ~= current then return {'STALE', int(current)} end
end

-- KEYS leader  ARGV holder, lease_ms, nonce
-- The nonce makes a repeat after a lost reply answer as the first call did.
local function lead(keys, args)
  local now = now_ms()
  local old = redis.call('HMGET', keys[1], 'epoch', 'holder', 'deadline_ms', 'nonce')
  if old[4] == args[3] then return {'OK', old[1]} end
  if old[3] and tonumber(old[3]) > now then
    return {'HELD', old[2], int(tonumber(old[3]) - now)}
  end
  local epoch = int(tonumber(old[1] or '0') + 1)
  redis.call('HSET', keys[1], 'epoch', epoch, 'holder', args[1],
             'deadline_ms', int(now + tonumber(args[2])), 'nonce', args[3])
  return {'OK', epoch}
end

-- KEYS leader  ARGV epoch, lease_ms
local function renew(keys, args)
  local stale = refuse_stale(keys[1], args[1])
  if stale then return stale end
  redis.call('HSET', keys[1], 'deadline_ms', int(now_ms() + tonumber(args[2])))
  return {'OK'}
end

-- KEYS leader  ARGV epoch
local function release_lead(keys, args)
  if not refuse_stale(keys[1], args[1]) then redis.call('HSET', keys[1], 'deadline_ms', '0') end
  return {'OK'}
end

-- KEYS leader, job_count, jobs, request  ARGV epoch, prefix, name, spec
local function create_job(keys, args)
  local stale = refuse_stale(keys[1], args[1])
  if stale then return stale end
  local known = redis.call('GET', keys[4])
  if known then return {'OK', known} end
  local n = redis.call('INCR', keys[2])
  local id = 'job-' .. int(n)
  redis.call('HSET', args[2] .. '{' .. id .. '}:job', 'name', args[3], 'spec', args[4],
             'seq', '0', 'create_ms', int(now_ms()))
  redis.call('ZADD', keys[3], n, id)
  redis.call('SET', keys[4], id, 'EX', 86400)
  return {'OK', id}
end

-- KEYS leader, job, events[, record...]  ARGV epoch, expected_seq, body...
local function append(keys, args)
  local stale = refuse_stale(keys[1], args[1])
  if stale then return stale end
  local last = redis.call('HGET', keys[2], 'seq')
  if not last then return {'NOT_FOUND'} end
  last = tonumber(last)
  local expected, count = tonumber(args[2]), #args - 2
  if expected < 0 or expected > last then return {'RANGE', int(last)} end
  if expected < last then
    if expected + count > last then return {'CONFLICT', int(last)} end
    for i = 1, count do
      local id = int(expected + i) .. '-0'
      local entry = redis.call('XRANGE', keys[3], id, id)[1]
      if not entry or entry[2][2] ~= args[i + 2] then return {'CONFLICT', int(last)} end
    end
    return {'OK'}
  end
  for i = 4, #keys do
    if redis.call('EXISTS', keys[i]) == 0 then return {'NO_RECORD', int(i - 3)} end
  end
  for i = 1, count do
    redis.call('XADD', keys[3], int(expected + i) .. '-0', 'body', args[i + 2])
  end
  if count > 0 then redis.call('HSET', keys[2], 'seq', int(expected + count)) end
  return {'OK'}
end

-- KEYS leader, job, snapshot  ARGV epoch, seq, body
local function snapshot(keys, args)
  local stale = refuse_stale(keys[1], args[1])
  if stale then return stale end
  if redis.call('EXISTS', keys[2]) == 0 then return {'NOT_FOUND'} end
  local seq = redis.call('HGET', keys[3], 'seq')
  if not seq or tonumber(seq) < tonumber(args[2]) then
    redis.call('HSET', keys[3], 'seq', args[2], 'body', args[3])
  end
  return {'OK'}
end

-- KEYS leader, fleet  ARGV epoch, body
local function fleet(keys, args)
  local stale = refuse_stale(keys[1], args[1])
  if stale then return stale end
  redis.call('SET', keys[2], args[2])
  return {'OK'}
end

redis.register_function{function_name = 'mg_version', flags = {'no-writes'},
                        callback = function() return VERSION end}
redis.register_function('mg_lead', lead)
redis.register_function('mg_renew', renew)
redis.register_function('mg_release_lead', release_lead)
redis.register_function('mg_create_job', create_job)
redis.register_function('mg_append', append)
redis.register_function('mg_snapshot', snapshot)
redis.register_function('mg_fleet', fleet)
