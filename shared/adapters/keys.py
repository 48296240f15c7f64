"""Every Redis key and every Lua script, each with its reason and its lifetime.

Keys (all in one logical database; names are built inside the scripts, so one server and not a cluster):

    darkroom:job:<id>           hash    the record; runs out `result_ttl` after the job ended, never before
    darkroom:picture:<id>       string  the image's bytes; erased when the job ends, at the latest with its queue time
    darkroom:queue              zset    ids waiting, by place; as long as they wait
    darkroom:waiting            zset    the same ids by number, to tell the oldest; as long as they wait
    darkroom:leases             zset    ids being worked on, by the end of their lease; as long as they run
    darkroom:slot:<worker>      string  "number id" of its latest claim, so that asking twice claims once; `SLOT_TTL_S`
    darkroom:once:<owner>:<key> string  "id fingerprint" of the job that first came with an idempotency key; `ONCE_S`
    darkroom:jobs:<owner>       zset    an owner's ids by number, for lists; an id goes with its tombstone
    darkroom:ends               zset    "owner id" of ended jobs by the moment their tombstone goes
    darkroom:counts             hash    how many jobs ever ended in each state; for ever
    darkroom:number             string  the last job's number; for ever
    darkroom:workers            zset    workers by when they were last heard; trimmed at every beat
    darkroom:worker:<id>        string  a worker's last report; `WORKER_TTL_S`
    darkroom:bell               list    Celery's queue: bells that hang
    darkroom:ended              channel ids of jobs as they end

Times are microseconds of the server's clock: no other clock decides anything.
"""

from typing import Final

from shared.store import ONCE_S, TOMBSTONE_S, WORKER_TTL_S

JOB: Final = "darkroom:job:"
PICTURE: Final = "darkroom:picture:"
QUEUE: Final = "darkroom:queue"
LEASES: Final = "darkroom:leases"
WAITING: Final = "darkroom:waiting"
SLOT: Final = "darkroom:slot:"
ONCE: Final = "darkroom:once:"
JOBS: Final = "darkroom:jobs:"
ENDS: Final = "darkroom:ends"
COUNTS: Final = "darkroom:counts"
NUMBER: Final = "darkroom:number"
WORKERS: Final = "darkroom:workers"
WORKER: Final = "darkroom:worker:"
BELL: Final = "darkroom:bell"
ENDED: Final = "darkroom:ended"

LEASE_MS: Final = 30_000
"""How long a claim counts as alive. Nothing renews it or acts on its end yet: a job is far shorter."""

SLOT_TTL_S: Final = 3600
"""A question of a worker may arrive so late, after it was asked again or even after the worker has gone."""

MOST_EXPIRED: Final = 500
"""One claim ends so many expired jobs at most, so that no script holds up all others for long."""

FIRST: Final = b"first"
"""How an enqueueing begins its answer when the job came before; that one's id follows."""

REUSED: Final = b"reused"
"""The same when what came before was another request."""

AGAIN: Final = b"again"
"""What a claim answers that met more expired jobs than that: ask again."""

# A full Redis refuses a script's writes that need memory, unless one that needs none went before. Ending jobs is what
# makes room, so every script but the one that takes new jobs begins like this.
_ALLOWED: Final = """
redis.call('UNLINK', 'darkroom:nothing')
"""

_CLOCK: Final = """
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
local function text(us) return string.format('%.0f', us) end
"""

# As many bells as workers live may hang. Silence is safe only while they do: whoever takes one of them looks into the
# queue after this script, and so sees the job that this script put there.
_RING: Final = f"""
local function ring(bell)
  local most = math.max(1, redis.call('ZCARD', '{WORKERS}'))
  if redis.call('LLEN', '{BELL}') < most then redis.call('LPUSH', '{BELL}', bell) end
end
"""

# The one way a job ends. The record keeps what it has and gets a time to live; the picture goes.
_CLOSE: Final = f"""
local function close(id, owner, ttl_ms, now, state, field, value)
  local expires = now + ttl_ms * 1000
  local record = '{JOB}' .. id
  redis.call('HSET', record, 'state', state, 'finished_us', text(now), 'expires_us', text(expires))
  if field then redis.call('HSET', record, field, value) end
  redis.call('PEXPIRE', record, ttl_ms)
  redis.call('UNLINK', '{PICTURE}' .. id)
  redis.call('ZREM', '{LEASES}', id)
  redis.call('ZADD', '{ENDS}', text(expires + {TOMBSTONE_S} * 1000000), owner .. ' ' .. id)
  redis.call('HINCRBY', '{COUNTS}', state, 1)
  redis.call('PUBLISH', '{ENDED}', id)
end
"""

# A worker numbers its claims before it asks. A claim whose answer was lost on the way is given again, and a question
# that comes late, after newer ones, is given nothing.
_CLAIM: Final = f"""
local function claim(worker, number, now)
  local id
  local token = worker .. '/' .. number
  local slot = '{SLOT}' .. worker
  local last, held = string.match(redis.call('GET', slot) or '0 ', '^(%d+) (.*)$')
  if tonumber(number) < tonumber(last) then return false end
  if number == last then
    if held == '' then return false end
    id = held
  else
    local expired = 0
    while true do
      if expired == {MOST_EXPIRED} then return '{AGAIN.decode()}' end
      local popped = redis.call('ZPOPMIN', '{QUEUE}')
      if #popped == 0 then
        redis.call('SET', slot, number .. ' ', 'EX', {SLOT_TTL_S})
        return false
      end
      id = popped[1]
      redis.call('ZREM', '{WAITING}', id)
      local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'deadline_us', 'owner', 'result_ttl_ms')
      if h[1] == 'queued' then
        if tonumber(h[2]) > now then
          redis.call('HSET', '{JOB}' .. id, 'state', 'running', 'token', token, 'worker', worker,
            'started_us', text(now))
          redis.call('HINCRBY', '{JOB}' .. id, 'attempt', 1)
          redis.call('ZADD', '{LEASES}', text(now + {LEASE_MS} * 1000), id)
          redis.call('SET', slot, number .. ' ' .. id, 'EX', {SLOT_TTL_S})
          break
        end
        close(id, h[3], tonumber(h[4]), now, 'expired')
        expired = expired + 1
      end
    end
  end
  local h = redis.call('HMGET', '{JOB}' .. id, 'spec', 'attempt', 'created_us')
  return {{h[1], token, h[2], h[3], redis.call('GET', '{PICTURE}' .. id)}}
end
"""

ENQUEUE: Final = (
    _CLOCK
    + _RING
    + f"""
-- ARGV: id, spec, owner, places, queue_ttl_ms, result_ttl_ms, bell, idempotency key or '', fingerprint.
-- Answers {{created_us, position}}, {{'first', id}} or {{'reused'}}.
-- The picture was set just before, in the same pipeline; without it there is no job.
local id, owner = ARGV[1], ARGV[3]
local record = '{JOB}' .. id
local once = '{ONCE}' .. owner .. ':' .. ARGV[8]
if ARGV[8] ~= '' then
  local first, fingerprint = string.match(redis.call('GET', once) or '', '^(.*) (.*)$')
  if first and first ~= id then
    redis.call('UNLINK', '{PICTURE}' .. id)
    if fingerprint ~= ARGV[9] then return {{'{REUSED.decode()}'}} end
    return {{'{FIRST.decode()}', first}}
  end
end
if redis.call('EXISTS', '{PICTURE}' .. id) == 0 then return redis.error_reply('NOPICTURE it was not kept') end
local now = clock()
if redis.call('EXISTS', record) == 0 then
  local number = redis.call('INCR', '{NUMBER}')
  redis.call('HSET', record, 'state', 'queued', 'spec', ARGV[2], 'owner', owner, 'attempt', 0,
    'created_us', text(now), 'deadline_us', text(now + ARGV[5] * 1000), 'result_ttl_ms', ARGV[6],
    'number', number, 'place', number + ARGV[4])
  redis.call('ZADD', '{QUEUE}', number + ARGV[4], id)
  redis.call('ZADD', '{WAITING}', number, id)
  redis.call('ZADD', '{JOBS}' .. owner, number, id)
  if ARGV[8] ~= '' then redis.call('SET', once, id .. ' ' .. ARGV[9], 'EX', {ONCE_S}) end
  ring(ARGV[7])
  -- Two tombstones go with every job that comes, so none is ever left to pile up.
  for _, tomb in ipairs(redis.call('ZRANGE', '{ENDS}', '-inf', text(now), 'BYSCORE', 'LIMIT', 0, 2)) do
    local o, i = string.match(tomb, '^(.*) (.*)$')
    redis.call('ZREM', '{ENDS}', tomb)
    redis.call('ZREM', '{JOBS}' .. o, i)
  end
end
local h = redis.call('HMGET', record, 'created_us', 'state')
-- Said again after a lost answer, when the job has already ended: its picture must not come back to stay.
if h[2] ~= 'queued' and h[2] ~= 'running' then redis.call('UNLINK', '{PICTURE}' .. id) end
return {{h[1], redis.call('ZRANK', '{QUEUE}', id)}}
"""
)

CLAIM: Final = (
    _ALLOWED
    + _CLOCK
    + _CLOSE
    + _CLAIM
    + """
-- ARGV: worker, the claim's number. Answers {spec, token, attempt, created_us, picture}, nil or 'again'.
return claim(ARGV[1], ARGV[2], clock())
"""
)

FINISH: Final = (
    _ALLOWED
    + _CLOCK
    + _RING
    + _CLOSE
    + _CLAIM
    + f"""
-- ARGV: worker, id, token, state, field, value, the next claim's number or '', bell.
-- Answers {{counted, what a claim answers}}.
local id = ARGV[2]
local now = clock()
local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'token', 'owner', 'result_ttl_ms', 'cancel_requested')
local counted = 0
if h[2] == ARGV[3] then
  if h[1] == 'running' then
    if h[5] then
      close(id, h[3], tonumber(h[4]), now, 'canceled')
    else
      close(id, h[3], tonumber(h[4]), now, ARGV[4], ARGV[5], ARGV[6])
      counted = 1
    end
  elseif h[1] == ARGV[4] then
    counted = 1 -- Said twice by the same attempt: the first answer was lost on its way.
  end
end
if ARGV[7] ~= '' then return {{counted, claim(ARGV[1], ARGV[7], now)}} end
if redis.call('ZCARD', '{QUEUE}') > 0 then ring(ARGV[8]) end
return {{counted, false}}
"""
)

CANCEL: Final = (
    _ALLOWED
    + _CLOCK
    + _CLOSE
    + f"""
-- ARGV: id, owner. Answers 1, or nil where the owner has no such job.
local id = ARGV[1]
local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'owner', 'result_ttl_ms')
if h[2] ~= ARGV[2] then return false end
if h[1] == 'queued' then
  redis.call('ZREM', '{QUEUE}', id)
  redis.call('ZREM', '{WAITING}', id)
  close(id, h[2], tonumber(h[3]), clock(), 'canceled')
elseif h[1] == 'running' then
  redis.call('HSET', '{JOB}' .. id, 'cancel_requested', 1)
end
return 1
"""
)

DELETE: Final = f"""
-- ARGV: id, owner. Answers the state it had, or nil where the owner has no such job. A running job stays.
local id, owner = ARGV[1], ARGV[2]
local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'owner')
if h[2] ~= owner then return false end
if h[1] ~= 'running' then
  redis.call('ZREM', '{QUEUE}', id)
  redis.call('ZREM', '{WAITING}', id)
  redis.call('UNLINK', '{JOB}' .. id, '{PICTURE}' .. id)
  redis.call('ZREM', '{JOBS}' .. owner, id)
  redis.call('ZREM', '{ENDS}', owner .. ' ' .. id)
  redis.call('PUBLISH', '{ENDED}', id)
end
return h[1]
"""

BEAT: Final = (
    _ALLOWED
    + _CLOCK
    + _RING
    + f"""
-- ARGV: worker, report, bell.
local now = clock()
redis.call('ZADD', '{WORKERS}', text(now), ARGV[1])
redis.call('SET', '{WORKER}' .. ARGV[1], ARGV[2], 'EX', {WORKER_TTL_S})
for _, gone in ipairs(redis.call('ZRANGE', '{WORKERS}', '-inf', text(now - {WORKER_TTL_S} * 1000000), 'BYSCORE')) do
  redis.call('ZREM', '{WORKERS}', gone)
end
-- A bell can be taken and never heard, when whoever took it died; and a worker may be newer than the jobs.
if redis.call('ZCARD', '{QUEUE}') > 0 then ring(ARGV[3]) end
"""
)

RETIRE: Final = f"""
-- ARGV: worker.
redis.call('ZREM', '{WORKERS}', ARGV[1])
redis.call('UNLINK', '{WORKER}' .. ARGV[1])
"""
