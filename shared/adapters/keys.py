"""Every Redis key and every Lua script, each with its reason and its lifetime.

Keys (all in one logical database; names are built inside the scripts, so one server and not a cluster):

    darkroom:job:<id>           hash    the record; runs out `result_ttl` after the job ended, never before
    darkroom:picture:<id>       string  the image's bytes; `UNADMITTED_MS` until the job is accepted, then as long as it
                                        lives, and `retry_keep` longer unless it succeeds
    darkroom:queue              zset    ids waiting for a worker, by place; as long as they wait
    darkroom:pausing            zset    ids that pause after a setback, by when they are due; as long as they pause
    darkroom:waiting            zset    ids of both by number, to tell the oldest; as long as they wait or pause
    darkroom:deadlines          zset    the same ids by the end of their time there; as long as they wait or pause
    darkroom:leases             zset    ids being worked on, by the end of their lease; as long as they run
    darkroom:slot:<worker>      string  "number id" of its latest claim, so that asking twice claims once; `SLOT_TTL_S`
    darkroom:kept               zset    ids of pictures kept after the end, by when they go; until then
    darkroom:once:<owner>:<key> string  "id fingerprint" of the job that first came with an idempotency key; `ONCE_S`
    darkroom:jobs:<owner>       zset    an owner's ids by number, for lists; an id goes with its tombstone
    darkroom:dead               zset    ids of dead letters by number; an id goes with its retry, or its tombstone
    darkroom:ends               zset    "owner id" of ended jobs by the moment their tombstone goes
    darkroom:counts             hash    how many jobs ever ended in each state; for ever
    darkroom:number             string  the last job's number; for ever
    darkroom:workers            zset    workers by when they were last heard; trimmed by the reaper
    darkroom:worker:<id>        string  a worker's last report; `WORKER_TTL_S`
    darkroom:reaped             string  when somebody last reaped; for ever
    darkroom:bell               list    Celery's queue: bells that hang
    darkroom:ended              channel ids of jobs as they end; after a success's id all that it adds to the record

Times are microseconds of the server's clock: no other clock decides anything.
"""

from typing import Final

from shared.jobs import LEASE_MS, MAX_ATTEMPTS
from shared.store import ONCE_S, TOMBSTONE_S, WORKER_TTL_S

JOB: Final = "darkroom:job:"
PICTURE: Final = "darkroom:picture:"
QUEUE: Final = "darkroom:queue"
PAUSING: Final = "darkroom:pausing"
WAITING: Final = "darkroom:waiting"
DEADLINES: Final = "darkroom:deadlines"
LEASES: Final = "darkroom:leases"
SLOT: Final = "darkroom:slot:"
ONCE: Final = "darkroom:once:"
JOBS: Final = "darkroom:jobs:"
DEAD: Final = "darkroom:dead"
KEPT: Final = "darkroom:kept"
ENDS: Final = "darkroom:ends"
COUNTS: Final = "darkroom:counts"
NUMBER: Final = "darkroom:number"
WORKERS: Final = "darkroom:workers"
WORKER: Final = "darkroom:worker:"
REAPED: Final = "darkroom:reaped"
BELL: Final = "darkroom:bell"
ENDED: Final = "darkroom:ended"

UNADMITTED_MS: Final = 60_000
"""So long a picture stays whose job was never accepted: its enqueueing broke in the middle."""

REAP_EVERY_MS: Final = 900
"""Whoever asks sooner after another is told that there is nothing to do."""

OUTAGE_MS: Final = LEASE_MS // 2
"""Nobody reaped for so long: nobody could reach the server, workers with jobs neither. None of them is lost yet."""

DEFAULT_TTL_MS: Final = 3_600_000
"""Of a record that an older version wrote, which does not tell how long its job may wait."""

MOST_REAPED: Final = 200
"""So many jobs of a kind one script looks after at most, so that it holds up all others only for a moment."""

SLOT_TTL_S: Final = 3600
"""A question of a worker may arrive so late, after it was asked again or even after the worker has gone."""

MOST_EXPIRED: Final = 500
"""One claim ends so many expired jobs at most, so that no script holds up all others for long."""

FIRST: Final = b"first"
"""How an enqueueing begins its answer when the job came before; that one's id follows."""

REUSED: Final = b"reused"
"""The same when what came before was another request."""

NOT_ENDED: Final = b"state"
"""How a retry begins its answer when the job is not one to try again; its state follows."""

NO_PICTURE: Final = b"gone"
"""The same when its picture was erased."""

AGAIN: Final = b"again"
"""What a claim answers that met more expired jobs than that: ask again."""

# A full Redis refuses a script's writes that need memory, unless one that needs none went before. Ending jobs is what
# makes room, so every script begins like this but the one that takes new jobs. (A retry brings no new picture.)
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
local function bells_wanted()
  if redis.call('ZCARD', '{QUEUE}') == 0 then return 0 end
  return math.max(1, redis.call('ZCARD', '{WORKERS}')) - redis.call('LLEN', '{BELL}')
end
local function ring(bell)
  if bells_wanted() > 0 then redis.call('LPUSH', '{BELL}', bell) end
end
"""

# What waits is in three or four places; it enters all of them and leaves all of them.
_WAIT: Final = f"""
local function wait(id, now, number, place, queue_ttl_ms, pause_ms)
  -- A pause is none of the time that a job may wait for a worker.
  local deadline = now + (pause_ms + queue_ttl_ms) * 1000
  redis.call('HSET', '{JOB}' .. id, 'state', 'queued', 'deadline_us', text(deadline))
  redis.call('ZADD', '{WAITING}', number, id)
  redis.call('ZADD', '{DEADLINES}', text(deadline), id)
  if pause_ms > 0 then
    redis.call('HSET', '{JOB}' .. id, 'due_us', text(now + pause_ms * 1000))
    redis.call('ZADD', '{PAUSING}', text(now + pause_ms * 1000), id)
  else
    redis.call('ZADD', '{QUEUE}', place, id)
  end
end
local function leave(id)
  redis.call('ZREM', '{QUEUE}', id)
  redis.call('ZREM', '{PAUSING}', id)
  redis.call('ZREM', '{WAITING}', id)
  redis.call('ZREM', '{DEADLINES}', id)
end
"""

# A job that runs waits again, in its old place and with all its time. Its token stays, and is worth nothing.
_TAKE_BACK: Final = f"""
local function take_back(id, now, pause_ms)
  local h = redis.call('HMGET', '{JOB}' .. id, 'number', 'place', 'queue_ttl_ms')
  redis.call('ZREM', '{LEASES}', id)
  redis.call('HDEL', '{JOB}' .. id, 'worker', 'started_us')
  wait(id, now, h[1], h[2], tonumber(h[3] or {DEFAULT_TTL_MS}), pause_ms)
end
"""

# The one way a job ends. The record keeps what it has and gets a time to live; the picture goes, or will.
_CLOSE: Final = f"""
local function close(id, now, state, field, value, dead)
  local record = '{JOB}' .. id
  local h = redis.call('HMGET', record, 'owner', 'result_ttl_ms', 'retry_keep_ms', 'number', 'attempt', 'started_us')
  local ttl_ms = tonumber(h[2])
  local keep_ms = math.min(tonumber(h[3] or 0), ttl_ms)
  local expires = now + ttl_ms * 1000
  redis.call('HSET', record, 'state', state, 'finished_us', text(now), 'expires_us', text(expires))
  redis.call('HDEL', record, 'due_us')
  if field then redis.call('HSET', record, field, value) end
  redis.call('PEXPIRE', record, ttl_ms)
  if state == 'succeeded' or keep_ms == 0 then
    redis.call('UNLINK', '{PICTURE}' .. id)
  else
    redis.call('PEXPIRE', '{PICTURE}' .. id, keep_ms)
    redis.call('ZADD', '{KEPT}', text(now + keep_ms * 1000), id)
  end
  redis.call('ZREM', '{LEASES}', id)
  if dead then redis.call('ZADD', '{DEAD}', h[4], id) end
  redis.call('ZADD', '{ENDS}', text(expires + {TOMBSTONE_S} * 1000000), h[1] .. ' ' .. id)
  redis.call('HINCRBY', '{COUNTS}', state, 1)
  if state == 'succeeded' then
    id = table.concat({{id, h[5], h[6], text(now), text(expires), value}}, ' ')
  end
  redis.call('PUBLISH', '{ENDED}', id)
end
"""

# A worker numbers its claims before it asks. A claim whose answer was lost on the way is given again, unless the job
# was taken back meanwhile; a question that comes late, after newer ones, is given nothing.
_CLAIM: Final = f"""
local function claim(worker, number, now)
  local id
  local token = worker .. '/' .. number
  local slot = '{SLOT}' .. worker
  local last, held = string.match(redis.call('GET', slot) or '0 ', '^(%d+) (.*)$')
  if tonumber(number) < tonumber(last) then return false end
  if number == last then
    local h = redis.call('HMGET', '{JOB}' .. held, 'state', 'token')
    if h[1] ~= 'running' or h[2] ~= token then return false end
    id = held
    redis.call('ZADD', '{LEASES}', text(now + {LEASE_MS} * 1000), id)
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
      redis.call('ZREM', '{DEADLINES}', id)
      local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'deadline_us')
      if h[1] == 'queued' then
        if tonumber(h[2]) > now then
          redis.call('HSET', '{JOB}' .. id, 'state', 'running', 'token', token, 'worker', worker,
            'started_us', text(now))
          redis.call('HINCRBY', '{JOB}' .. id, 'attempt', 1)
          redis.call('ZADD', '{LEASES}', text(now + {LEASE_MS} * 1000), id)
          redis.call('SET', slot, number .. ' ' .. id, 'EX', {SLOT_TTL_S})
          break
        end
        close(id, now, 'expired')
        expired = expired + 1
      end
    end
  end
  local h = redis.call('HMGET', '{JOB}' .. id, 'spec', 'attempt', 'created_us')
  return {{h[1], token, h[2], h[3], redis.call('GET', '{PICTURE}' .. id)}}
end
"""

_MOVES: Final = _ALLOWED + _CLOCK + _RING + _WAIT + _TAKE_BACK + _CLOSE
"""What moves jobs that have come in."""

# The one way a job comes in. INCR is the first of its writes and needs memory: a full Redis refuses the whole.
_ADMIT: Final = f"""
local function admit(id, owner, now, spec, places, queue_ttl_ms, result_ttl_ms, retry_keep_ms, max_attempts, pause_ms)
  local number = redis.call('INCR', '{NUMBER}')
  local place = number + places
  redis.call('HSET', '{JOB}' .. id, 'spec', spec, 'owner', owner, 'attempt', 0, 'created_us', text(now),
    'queue_ttl_ms', queue_ttl_ms, 'result_ttl_ms', result_ttl_ms, 'retry_keep_ms', retry_keep_ms,
    'max_attempts', max_attempts, 'number', number, 'place', place)
  wait(id, now, number, place, tonumber(queue_ttl_ms), pause_ms)
  redis.call('ZADD', '{JOBS}' .. owner, number, id)
end
"""

ENQUEUE: Final = (
    _CLOCK
    + _RING
    + _WAIT
    + _ADMIT
    + f"""
-- ARGV: id, owner, spec, places, queue_ttl_ms, result_ttl_ms, retry_keep_ms, max_attempts, bell,
-- idempotency key or '', fingerprint.
-- Answers {{created_us, position}}, {{'first', id}} or {{'reused'}}.
-- The picture was set just before, in the same pipeline; without it there is no job.
local id, owner = ARGV[1], ARGV[2]
local record, picture = '{JOB}' .. id, '{PICTURE}' .. id
local once = '{ONCE}' .. owner .. ':' .. ARGV[10]
if ARGV[10] ~= '' then
  local first, fingerprint = string.match(redis.call('GET', once) or '', '^(.*) (.*)$')
  if first and first ~= id then
    redis.call('UNLINK', picture)
    if fingerprint ~= ARGV[11] then return {{'{REUSED.decode()}'}} end
    return {{'{FIRST.decode()}', first}}
  end
end
if redis.call('EXISTS', picture) == 0 then return redis.error_reply('NOPICTURE it was not kept') end
local now = clock()
if redis.call('EXISTS', record) == 0 then
  admit(id, owner, now, ARGV[3], ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], 0)
  redis.call('PERSIST', picture)
  if ARGV[10] ~= '' then redis.call('SET', once, id .. ' ' .. ARGV[11], 'EX', {ONCE_S}) end
  ring(ARGV[9])
  return {{text(now), redis.call('ZRANK', '{QUEUE}', id)}}
end
-- Said again after a lost answer: the picture must stay as long as the first one would have, and no longer.
local h = redis.call('HMGET', record, 'created_us', 'state')
local until_us = redis.call('ZSCORE', '{KEPT}', id)
if h[2] == 'queued' or h[2] == 'running' then
  redis.call('PERSIST', picture)
elseif until_us and tonumber(until_us) > now then
  redis.call('PEXPIRE', picture, text(math.ceil((until_us - now) / 1000)))
else
  redis.call('UNLINK', picture)
end
return {{h[1], redis.call('ZRANK', '{QUEUE}', id)}}
"""
)

RETRY: Final = (
    _ALLOWED
    + _CLOCK
    + _RING
    + _WAIT
    + _ADMIT
    + f"""
-- ARGV: the old job's id, owner, the new one's id, spec, places, queue_ttl_ms, result_ttl_ms, retry_keep_ms,
-- max_attempts, bell, pause_ms.
-- Answers {{created_us}}, {{'first', id}}, {{'state', state}}, {{'gone'}}, or nil where the owner has no such job.
local old, owner, id = ARGV[1], ARGV[2], ARGV[3]
local h = redis.call('HMGET', '{JOB}' .. old, 'owner', 'state', 'retried_as')
if h[1] ~= owner then return false end
if h[2] ~= 'failed' and h[2] ~= 'canceled' and h[2] ~= 'expired' then return {{'{NOT_ENDED.decode()}', h[2]}} end
if h[3] and redis.call('EXISTS', '{JOB}' .. h[3]) == 1 then return {{'{FIRST.decode()}', h[3]}} end
if redis.call('EXISTS', '{PICTURE}' .. old) == 0 then return {{'{NO_PICTURE.decode()}'}} end
local now = clock()
admit(id, owner, now, ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], tonumber(ARGV[11]))
redis.call('RENAME', '{PICTURE}' .. old, '{PICTURE}' .. id)
redis.call('ZREM', '{KEPT}', old)
redis.call('PERSIST', '{PICTURE}' .. id)
redis.call('HSET', '{JOB}' .. old, 'retried_as', id)
redis.call('ZREM', '{DEAD}', old)
ring(ARGV[10])
return {{text(now)}}
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
    _MOVES
    + _CLAIM
    + f"""
-- ARGV: worker, id, token, state, field, value, whether it would be a dead letter (1 or ''), the next claim's number or
-- '', bell, most setbacks, then the pause in milliseconds after each of them.
-- The state 'failed' with most setbacks above 0 is a setback, while there may be another attempt.
-- Answers {{counted, what a claim answers}}.
local id, record = ARGV[2], '{JOB}' .. ARGV[2]
local now = clock()
local h = redis.call('HMGET', record, 'state', 'token', 'cancel_requested', 'setbacks', 'attempt', 'max_attempts')
local counted = 0
if h[2] == ARGV[3] then
  if h[1] == 'running' then
    local setbacks = tonumber(h[4] or '0') + 1
    if h[3] then
      close(id, now, 'canceled')
    else
      if setbacks <= tonumber(ARGV[10]) and tonumber(h[5]) < tonumber(h[6] or {MAX_ATTEMPTS}) then
        redis.call('HSET', record, 'setbacks', setbacks, 'set_back', ARGV[3])
        take_back(id, now, tonumber(ARGV[10 + setbacks]))
      else
        close(id, now, ARGV[4], ARGV[5], ARGV[6], ARGV[7] ~= '')
      end
      counted = 1
    end
  -- Said twice by the same attempt: the first answer was lost on its way.
  elseif h[1] == ARGV[4] or (h[1] == 'queued' and redis.call('HGET', record, 'set_back') == ARGV[3]) then
    counted = 1
  end
end
if ARGV[8] ~= '' then return {{counted, claim(ARGV[1], ARGV[8], now)}} end
ring(ARGV[9])
return {{counted, false}}
"""
)

GIVE_BACK: Final = (
    _MOVES
    + f"""
-- ARGV: id, token, bell. Answers 1 if the token held the job.
local id, record = ARGV[1], '{JOB}' .. ARGV[1]
local h = redis.call('HMGET', record, 'state', 'token', 'cancel_requested')
if h[1] ~= 'running' or h[2] ~= ARGV[2] then return 0 end
if h[3] then
  close(id, clock(), 'canceled')
else
  redis.call('HINCRBY', record, 'attempt', -1)
  take_back(id, clock(), 0)
  ring(ARGV[3])
end
return 1
"""
)

CANCEL: Final = (
    _ALLOWED
    + _CLOCK
    + _WAIT
    + _CLOSE
    + f"""
-- ARGV: id, owner. Answers 1, or nil where the owner has no such job.
local id = ARGV[1]
local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'owner')
if h[2] ~= ARGV[2] then return false end
if h[1] == 'queued' then
  leave(id)
  close(id, clock(), 'canceled')
elseif h[1] == 'running' then
  redis.call('HSET', '{JOB}' .. id, 'cancel_requested', 1)
end
return 1
"""
)

DELETE: Final = (
    _CLOCK
    + _WAIT
    + f"""
-- ARGV: id, owner. Answers the state it had, or nil where the owner has no such job. A running job stays.
local id, owner = ARGV[1], ARGV[2]
local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'owner')
if h[2] ~= owner then return false end
if h[1] ~= 'running' then
  leave(id)
  redis.call('UNLINK', '{JOB}' .. id, '{PICTURE}' .. id)
  redis.call('ZREM', '{JOBS}' .. owner, id)
  redis.call('ZREM', '{DEAD}', id)
  redis.call('ZREM', '{KEPT}', id)
  redis.call('ZREM', '{ENDS}', owner .. ' ' .. id)
  redis.call('PUBLISH', '{ENDED}', id)
end
return h[1]
"""
)

BEAT: Final = (
    _ALLOWED
    + _CLOCK
    + _RING
    + f"""
-- ARGV: worker, report, bell, id and token of the job it holds or ''.
-- Answers 1 if jobs waited and a bell hung that nobody had heard.
local now = clock()
redis.call('ZADD', '{WORKERS}', text(now), ARGV[1])
redis.call('SET', '{WORKER}' .. ARGV[1], ARGV[2], 'EX', {WORKER_TTL_S})
local h = redis.call('HMGET', '{JOB}' .. ARGV[4], 'state', 'token')
if h[1] == 'running' and h[2] == ARGV[5] then
  redis.call('ZADD', '{LEASES}', text(now + {LEASE_MS} * 1000), ARGV[4])
end
local unheard = 0
if redis.call('ZCARD', '{QUEUE}') > 0 and redis.call('LLEN', '{BELL}') > 0 then unheard = 1 end
-- A bell can be taken and never heard, when whoever took it died; and a worker may be newer than the jobs.
ring(ARGV[3])
return unheard
"""
)

REAP: Final = (
    _MOVES
    + f"""
-- ARGV: bell, what a job says that lost its last worker.
-- Answers {{taken back, crashed, canceled, expired, due, whether there is more}}, or nil if somebody reaped just now.
local now = clock()
local last = tonumber(redis.call('GET', '{REAPED}') or '0')
local since = now - last
if since >= 0 and since < {REAP_EVERY_MS} * 1000 then return false end
redis.call('SET', '{REAPED}', text(now))
-- After an outage, and after the server's clock was set, no lease can be believed.
if last > 0 and (since < 0 or since > {OUTAGE_MS} * 1000) then
  for _, id in ipairs(redis.call('ZRANGE', '{LEASES}', 0, -1)) do
    redis.call('ZADD', '{LEASES}', text(now + {LEASE_MS} * 1000), id)
  end
end
local function over(key)
  return redis.call('ZRANGE', key, '-inf', text(now), 'BYSCORE', 'LIMIT', 0, {MOST_REAPED})
end
local taken_back, crashed, canceled, expired, due = 0, 0, 0, 0, 0
for _, id in ipairs(over('{LEASES}')) do
  local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'cancel_requested', 'attempt', 'max_attempts')
  if h[1] ~= 'running' then
    redis.call('ZREM', '{LEASES}', id)
  elseif h[2] then
    close(id, now, 'canceled')
    canceled = canceled + 1
  elseif tonumber(h[3]) < tonumber(h[4] or {MAX_ATTEMPTS}) then
    take_back(id, now, 0)
    taken_back = taken_back + 1
  else
    -- Its worker may be late, and must not take this end for its own.
    redis.call('HDEL', '{JOB}' .. id, 'token')
    close(id, now, 'failed', 'failure', ARGV[2], true)
    crashed = crashed + 1
  end
end
for _, id in ipairs(over('{PAUSING}')) do
  redis.call('ZREM', '{PAUSING}', id)
  local h = redis.call('HMGET', '{JOB}' .. id, 'state', 'place')
  if h[1] == 'queued' then
    redis.call('HDEL', '{JOB}' .. id, 'due_us')
    redis.call('ZADD', '{QUEUE}', h[2], id)
  end
  due = due + 1
end
for _, id in ipairs(over('{DEADLINES}')) do
  leave(id)
  if redis.call('HGET', '{JOB}' .. id, 'state') == 'queued' then close(id, now, 'expired') end
  expired = expired + 1
end
local buried = over('{ENDS}')
for _, tomb in ipairs(buried) do
  local owner, id = string.match(tomb, '^(.*) (.*)$')
  redis.call('ZREM', '{ENDS}', tomb)
  redis.call('ZREM', '{JOBS}' .. owner, id)
  redis.call('ZREM', '{DEAD}', id)
end
redis.call('ZREMRANGEBYSCORE', '{KEPT}', '-inf', text(now))
redis.call('ZREMRANGEBYSCORE', '{WORKERS}', '-inf', text(now - {WORKER_TTL_S} * 1000000))
ring(ARGV[1])
local more = 0
if math.max(taken_back + crashed + canceled, due, expired, #buried) == {MOST_REAPED} or bells_wanted() > 0 then
  more = 1
  redis.call('SET', '{REAPED}', text(now - {REAP_EVERY_MS} * 1000))
end
return {{taken_back, crashed, canceled, expired, due, more}}
"""
)

MAKE_ROOM: Final = f"""
-- ARGV: how many. Erases the pictures that would go next of those that are kept for a retry. Answers how many.
local kept = redis.call('ZPOPMIN', '{KEPT}', ARGV[1])
for i = 1, #kept, 2 do redis.call('DEL', '{PICTURE}' .. kept[i]) end
return #kept / 2
"""

RETIRE: Final = f"""
-- ARGV: worker.
redis.call('ZREM', '{WORKERS}', ARGV[1])
redis.call('UNLINK', '{WORKER}' .. ARGV[1])
"""
