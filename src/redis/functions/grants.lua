#!lua name=writ
-- The store's atomic functions. Lua knows versions, edges, times and the control record; what a grant says is opaque text to it.
-- Invariant: everything is checked before the first write of a step. Lua does not roll back, so a write that could fail half-way must not be
-- reachable; readers ignore every event above the stored version. A key of the wrong type fails the read that comes first: every key that is
-- written was read before, if only with ZCARD or LLEN; the stream is written first.
--
-- Rendered by library.ts: SUFFIX (content hash in every name), EDGES (the lifecycle as `from>to`, birth as `none>…`), ALLOWING (those
-- that need a guard), OPEN (what is not terminal), LIVE (in what a status list says VALID), NOW (the clock): while a library loads, Redis 7.0 has neither `pairs` nor `cjson`.
--
-- KEYS   every function begins with  1 control (hash: n, event, gone, judged, epoch; floor, clearing, held, recovered)  2 events (stream)
--        n and event are the sequence of the shard's newest commit and its id in the stream. `gone` is the latest id of an event that
--        was forgotten with its grant: a missing event up to there proves nothing. `judged` is the control record, five
--        values joined by `|` (policy revision, policy digest, people revision, people digest, freeze epoch); without it there is none.
--        `epoch` is the newest freeze epoch, which is kept beside the record because a freeze is taken without one too. The last four are
--        a recovery's: see control_read, and `held`, the record that is kept aside while there is none.
-- ARGV   every function begins with  1 seenSeq  2 seenEvent (stream id or ''): the newest commit that the caller knows of.
--        Times and spans are integer milliseconds. An empty text means absent.
-- Reply  { tag, behind, seq, event, … }: behind = 1 when what the caller has seen is not (or no longer) here; seq and event are the
--        shard's newest commit. Every function may answer 'malformed' what.

local SUFFIX = '' --[[SUFFIX]]
local EDGES = { --[[EDGES]] }
local ALLOWING = { --[[ALLOWING]] }
--[[NOW]]

-- The statuses that some edge leaves. Each of them must have a deadline; a terminal one has none.
local OPEN = { --[[OPEN]] }

-- The statuses in which a credential of the grant may be used.
local LIVE = { --[[LIVE]] }

local JUDGED = '^(%d+)|([^|]+)|(%d+)|([^|]+)|(%d+)$'
local STREAM_ID = '^(%d+)%-(%d+)$'

local function is_count(number) return number ~= nil and number >= 0 and number <= 9007199254740991 and number % 1 == 0 end

-- Whether one stream id comes after another; after '' does every one.
local function is_after(id, other)
  local ms, n = string.match(id, STREAM_ID)
  local other_ms, other_n = string.match(other, STREAM_ID)
  if not other_ms then return true end
  ms, n, other_ms, other_n = tonumber(ms), tonumber(n), tonumber(other_ms), tonumber(other_n)
  return ms > other_ms or (ms == other_ms and n > other_n)
end

-- How far the shard's one order of commits has come, and whether the caller has seen further: then Redis was rolled back. A lower
-- sequence shows it; so does a missing event, also when other brokers have counted up again since. Callers name an event after each
-- new connection: a server is not rolled back under an open one.
local function open_shard(keys, args)
  local seen_seq, seen_event = tonumber(args[1]), args[2]
  if not is_count(seen_seq) or (seen_event ~= '' and not string.match(seen_event, STREAM_ID)) then
    return nil, { 'malformed', 0, 0, '', 'seen' }
  end
  local at = redis.call('HMGET', keys[1], 'n', 'event', 'judged', 'gone', 'epoch')
  local shard = {
    key = keys[1], events = keys[2], seq = tonumber(at[1] or '0'), event = at[2] or '', judged = at[3] or '',
    gone = at[4] or '', epoch = tonumber(at[5] or '0'), behind = 0, probed = {}, listed = {},
  }
  if not is_count(shard.seq) then return nil, { 'malformed', 0, 0, '', 'seq' } end
  if not is_count(shard.epoch) then return nil, { 'malformed', 0, 0, '', 'epoch' } end
  if shard.seq < seen_seq then
    shard.behind = 1
  elseif seen_event ~= '' and seen_event ~= shard.event and is_after(seen_event, shard.gone)
    and #redis.call('XRANGE', keys[2], seen_event, seen_event) == 0 then
    shard.behind = 1
  end
  return shard
end

local function reply(tag, shard, ...) return { tag, shard.behind, shard.seq, shard.event, ... } end

-- One step as it lies in KEYS from k (ask, decisions, head, due, the index it leaves, the index it enters, `lasting` more sets that it
-- enters at birth, `parts` that it leaves, `denied` marks that are set for `restsMs`; with a place in a status list, that list and the set
-- of all lists) and in ARGV from i: id, from, to, version (1 at birth), head, event, ask, filedAt, deadline, lasting, parts, denied,
-- restsMs, born (0 for unknown), place ('' for none), keepUntil (of the list), count, then `count` decisions, '' for those that are stored.
local function step_at(keys, k, args, i)
  local step = {
    ask_key = keys[k], decisions_key = keys[k + 1], head_key = keys[k + 2], due = keys[k + 3], leaves = keys[k + 4],
    enters = keys[k + 5], lasting = tonumber(args[i + 9]), parts = tonumber(args[i + 10]), denied = tonumber(args[i + 11]),
    rests = tonumber(args[i + 12]), keys = keys, lasting_at = k + 5,
    id = args[i], from = args[i + 1], to = args[i + 2], version = tonumber(args[i + 3]), head = args[i + 4],
    event = args[i + 5], ask = args[i + 6], filed_at = args[i + 7], deadline = args[i + 8],
    born = tonumber(args[i + 13]), place = tonumber(args[i + 14]), keep = tonumber(args[i + 15]),
    count = tonumber(args[i + 16]), args = args, decisions_at = i + 16,
  }
  if not is_count(step.version) or not is_count(step.count) or not args[i + 16 + step.count] then return nil, 'step' end
  if not is_count(step.lasting) or not is_count(step.parts) or not is_count(step.denied) then return nil, 'keys' end
  step.parts_at = step.lasting_at + step.lasting
  step.denied_at = step.parts_at + step.parts
  step.list_at = step.denied_at + step.denied
  step.size = 6 + step.lasting + step.parts + step.denied + (args[i + 14] == '' and 0 or 2)
  step.length = 17 + step.count
  if not step.enters or not keys[k + step.size - 1] then return nil, 'keys' end
  if step.denied > 0 and (not is_count(step.rests) or step.rests == 0) then return nil, 'rests' end
  if not is_count(step.born) then return nil, 'born' end
  if args[i + 14] ~= '' and not (is_count(step.place) and is_count(step.keep)) then return nil, 'place' end
  if step.id == '' or step.head == '' or step.event == '' or step.version == 0 then return nil, 'text' end
  if step.deadline ~= '' and not is_count(tonumber(step.deadline)) then return nil, 'deadline' end
  if not is_count(tonumber(step.filed_at)) or (step.version == 1 and step.ask == '') then return nil, 'ask' end
  return step
end

-- Fails where the key is of another type: once in a call, as nothing else changes it meanwhile.
local function probe(shard, command, key, ...)
  if shard.probed[key] then return end
  redis.call(command, key, ...)
  shard.probed[key] = true
end

-- Why this step may not be written, or nil. Reads only, and reads every key that `write` writes after the event.
local function refusal(shard, retire, step, guarded)
  if not guarded and ALLOWING[step.from .. '>' .. step.to] then return 'illegal', step.from, step.to end
  local head = redis.call('HMGET', step.head_key, 'version', 'status', 'ev', 'decisions', 'born')
  local version, status = tonumber(head[1] or '0'), head[2] or 'none'
  step.ev, step.have = head[3], tonumber(head[4] or '0')
  if step.version == 1 and (version ~= 0 or redis.call('EXISTS', step.ask_key, step.decisions_key, step.head_key) > 0) then
    return 'exists'
  end
  if step.version > 1 and version == 0 then return 'missing' end
  if version ~= step.version - 1 or status ~= step.from then return 'conflict', version, status end
  if not EDGES[status .. '>' .. step.to] then return 'illegal', status, step.to end
  -- Who does not know where the grant was born names no place, or another's: what is live would not be marked, or stay so.
  if (LIVE[status] or LIVE[step.to]) and step.born ~= tonumber(head[5] or '0') then return 'conflict', version, status end
  if (step.deadline == '') == (OPEN[step.to] == true) then return 'malformed', 'deadline' end
  if step.count < step.have then return 'malformed', 'decisions' end
  if step.count > step.have and redis.call('LLEN', step.decisions_key) ~= step.have then return 'malformed', 'decisions' end
  for n = step.have + 1, step.count do
    if step.args[step.decisions_at + n] == '' then return 'malformed', 'decisions' end
  end
  probe(shard, 'ZCARD', step.due)
  probe(shard, 'ZCARD', step.leaves)
  probe(shard, 'ZCARD', step.enters)
  for n = 1, step.lasting + step.parts do probe(shard, 'ZCARD', step.keys[step.lasting_at + n]) end
  for n = 1, step.denied do probe(shard, 'GET', step.keys[step.denied_at + n]) end
  if step.deadline == '' then probe(shard, 'ZCARD', retire) end
  if step.place then
    probe(shard, 'GETBIT', step.keys[step.list_at + 1], 0)
    probe(shard, 'ZCARD', step.keys[step.list_at + 2])
  end
end

-- Sorted sets as some steps leave them: each is written once, whatever the number of steps. What comes later about a member stands.
local function put(sets, key, id, score)
  local set = sets[key]
  if not set then
    set = { ids = {}, scores = {} }
    sets[key] = set
    sets[#sets + 1] = key
  end
  if set.scores[id] == nil then set.ids[#set.ids + 1] = id end
  set.scores[id] = score
end

-- One call for as many arguments as Lua can hand over at once, and with room to spare.
local function call_with(command, key, list)
  for from = 1, #list, 1000 do redis.call(command, key, unpack(list, from, math.min(from + 999, #list))) end
end

-- `false` takes a member out.
local function write_sets(sets)
  for _, key in ipairs(sets) do
    local gone, there, set = {}, {}, sets[key]
    for _, id in ipairs(set.ids) do
      if set.scores[id] then
        there[#there + 1] = set.scores[id]
        there[#there + 1] = id
      else
        gone[#gone + 1] = id
      end
    end
    call_with('ZREM', key, gone)
    call_with('ZADD', key, there)
  end
end

-- What the grant's place in its status list says from this step on: 1 while it is live. A list that is gone says nothing, so that nothing
-- of it is believed; it is kept until `keepUntil` of the last that became live in it.
local function mark(shard, step)
  local list, lists = step.keys[step.list_at + 1], step.keys[step.list_at + 2]
  if not LIVE[step.to] then
    if shard.listed[list] == nil then shard.listed[list] = redis.call('EXISTS', list) == 1 end
    if shard.listed[list] then redis.call('SETBIT', list, step.place, 0) end
    return
  end
  redis.call('SETBIT', list, step.place, 1)
  shard.listed[list] = true
  if redis.call('PEXPIRETIME', list) >= step.keep then return end
  redis.call('PEXPIREAT', list, string.format('%d', step.keep))
  redis.call('ZREMRANGEBYSCORE', lists, '-inf', now_ms())
  redis.call('ZADD', lists, string.format('%d', step.keep), list)
end

-- Writes a step that `refusal` let pass: its event, then ask and decisions, then the head. What it does to the indexes goes into `sets`, for
-- `write_all` to write with the shard's place when the last step is written: nothing in between can fail, as the stream took the event and
-- every other key was read.
local function write(shard, retire, step, sets)
  shard.seq = shard.seq + 1
  local seq, version = string.format('%d', shard.seq), string.format('%d', step.version)
  shard.event = redis.call('XADD', shard.events, '*',
    'grant', step.id, 'version', version, 'seq', seq, 'event', step.event)
  if step.version == 1 then
    redis.call('SET', step.ask_key, step.ask)
    redis.call('HSET', step.head_key, 'born', seq)
    for n = 1, step.lasting do put(sets, step.keys[step.lasting_at + n], step.id, step.filed_at) end
  end
  if step.leaves ~= step.enters then put(sets, step.leaves, step.id, false) end
  if step.leaves ~= step.enters or step.version == 1 then put(sets, step.enters, step.id, step.filed_at) end
  for n = 1, step.parts do put(sets, step.keys[step.parts_at + n], step.id, false) end
  for n = 1, step.denied do
    redis.call('SET', step.keys[step.denied_at + n], string.format('%d', now_ms() + step.rests), 'PX', step.rests)
  end
  if step.place then mark(shard, step) end
  for n = step.have + 1, step.count do
    redis.call('RPUSH', step.decisions_key, step.args[step.decisions_at + n])
  end
  if step.deadline == '' then
    put(sets, step.due, step.id, false)
    shard.now = shard.now or string.format('%d', now_ms())
    put(sets, retire, step.id, shard.now)
  else
    put(sets, step.due, step.id, step.deadline)
  end
  redis.call('HSET', step.head_key, 'ev', step.ev and (step.ev .. ',' .. shard.event) or shard.event,
    'decisions', string.format('%d', step.count), 'head', step.head, 'status', step.to, 'version', version)
end

-- What all written steps have in common.
local function write_all(shard, sets)
  redis.call('HSET', shard.key, 'n', string.format('%d', shard.seq), 'event', shard.event)
  write_sets(sets)
end

-- Why nothing more may enter, or nil, of the bounds and marks that lie in KEYS after k. Reads only.
local function crowded(keys, args, k, bounds, resting)
  for n = 1, bounds do
    local most = tonumber(args[6 + n])
    if not is_count(most) or most == 0 then return 'malformed' end
    if redis.call('ZCARD', keys[k + n]) >= most then
      return 'full', { n, redis.call('ZRANGE', keys[k + n], 0, 0)[1] }
    end
  end
  for n = 1, resting do
    local left = tonumber(redis.call('GET', keys[k + bounds + n]) or '0') - now_ms()
    if left > 0 then return 'resting', { left } end
  end
end

-- grant_commit (allowing: refused when Redis is out of memory) and grant_end_commit (ending: passes then, takes no guard and so no
-- edge that needs one).
-- KEYS  3 retire  4… one step, then `bounds` sets and `resting` marks (both of grant_commit alone)
-- ARGV  3 notAfter ('' for none)  4 the control record as judged  5 bounds  6 resting  7… of each bound the most that may be in the set
--       when the step has been written, then one step                                   (grant_commit)
-- ARGV  3… one step                                                                    (grant_end_commit)
-- Reply 'ok'; 'exists', 'missing', 'conflict' version status, 'illegal' from to, 'late' now, 'absent', 'stale', 'behind',
--       'full' n id: as many as may be are in the n-th set, that grant among them; 'resting' leftMs
local function commit(keys, args, guarded)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local bounds, resting = 0, 0
  if guarded then
    bounds, resting = tonumber(args[5]), tonumber(args[6])
    if not is_count(bounds) or not is_count(resting) then return reply('malformed', shard, 'bounds') end
  end
  local i = guarded and 7 + bounds or 3
  local step, what = step_at(keys, 4, args, i)
  if not step then return reply('malformed', shard, what) end
  local k = 3 + step.size
  if #keys ~= k + bounds + resting or #args ~= i + step.length - 1 then return reply('malformed', shard, 'arguments') end
  local not_after = guarded and args[3] ~= '' and tonumber(args[3])
  if guarded then
    if args[3] ~= '' and not is_count(not_after) then return reply('malformed', shard, 'notAfter') end
    if shard.behind == 1 then return reply('behind', shard) end
    if shard.judged ~= args[4] then return reply(string.match(shard.judged, JUDGED) and 'stale' or 'absent', shard) end
  end
  local tag, first, second = refusal(shard, keys[3], step, guarded)
  if tag then return reply(tag, shard, first, second) end
  if not_after then
    local now = now_ms()
    if now >= not_after then return reply('late', shard, now) end
  end
  local full, left = crowded(keys, args, k, bounds, resting)
  if full == 'malformed' then return reply('malformed', shard, 'bounds') end
  if full then return reply(full, shard, unpack(left)) end
  local sets = {}
  write(shard, keys[3], step, sets)
  write_all(shard, sets)
  return reply('ok', shard)
end

-- How long one took to be over in a containment, the latest counting most. `each` and `at` as they were read before.
local function keep_pace(walks, each_before, at_before, over, now)
  if over == 0 then return end
  local each = (now - tonumber(at_before or now)) / over
  if each_before then each = tonumber(each_before) * 0.7 + each * 0.3 end
  redis.call('HSET', walks, 'each', string.format('%.3f', each), 'at', string.format('%d', now))
end

-- grant_commit_each: 1 to 100 ending steps of one shard, each judged alone. For a containment, in which stage each step that is written leaves
-- its grant: so nothing leaves what lives without being known to have been matched.
-- KEYS  3 retire, then walks and matched of the containment where there is one, then the steps, one after the other
-- ARGV  3 stages (a digit for each step; '' where there is no containment)  4 keepMs  5 residue (0 for none)  6… the steps
-- Reply 'ok' { { 'ok', seq } or { refusal, … } for each step }
local OVER = 2
local function commit_each(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local stages, keep, residue = args[3], tonumber(args[4] or ''), tonumber(args[5] or '')
  if not is_count(keep) or not is_count(residue) or not string.match(stages, '^%d*$') then return reply('malformed', shard, 'stages') end
  local contained = stages ~= ''
  local steps, k, i = {}, contained and 6 or 4, 6
  while k <= #keys do
    local step, what = step_at(keys, k, args, i)
    if not step or #steps == 100 then return reply('malformed', shard, what or 'too many') end
    steps[#steps + 1] = step
    k = k + step.size
    i = i + step.length
  end
  if i ~= #args + 1 then return reply('malformed', shard, 'arguments') end
  if contained and (#stages ~= #steps or keep == 0) then return reply('malformed', shard, 'stages') end
  local known = contained and redis.call('HMGET', keys[4], 'residue', 'each', 'at')
  if contained then redis.call('ZCARD', keys[5]) end
  local rows, sets, over = {}, {}, 0
  for n, step in ipairs(steps) do
    -- A damaged grant must not keep the others from ending.
    local sound, tag, first, second = pcall(refusal, shard, keys[3], step, false)
    if not sound then
      rows[n] = { 'malformed', 'type' }
    elseif tag then
      rows[n] = { tag, first, second }
    else
      write(shard, keys[3], step, sets)
      rows[n] = { 'ok', shard.seq }
      if contained then
        local stage = string.sub(stages, n, n)
        put(sets, keys[5], step.id, stage)
        if tonumber(stage) >= OVER then over = over + 1 end
      end
    end
  end
  if #sets > 0 then
    write_all(shard, sets)
    if contained then
      keep_pace(keys[4], known[2], known[3], over, now_ms())
      redis.call('HSET', keys[4], 'residue', string.format('%d', math.max(tonumber(known[1] or '0'), residue)))
      redis.call('PEXPIRE', keys[4], keep)
      redis.call('PEXPIRE', keys[5], keep)
    end
  end
  return reply('ok', shard, rows)
end

-- claim_due: what is due by this clock, oldest first, each moved to now + lease, so that the next caller does not get it.
-- KEYS  3 due        ARGV  3 limit  4 leaseMs        Reply 'ok' { id, … }
local function claim_due(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local limit, lease = tonumber(args[3]), tonumber(args[4])
  if not is_count(limit) or not is_count(lease) or lease == 0 then return reply('malformed', shard, 'limit or lease') end
  local now = now_ms()
  local ids = limit == 0 and {} or redis.call('ZRANGEBYSCORE', keys[3], '-inf', now, 'LIMIT', 0, limit)
  local sets, until_then = {}, string.format('%d', now + lease)
  for _, id in ipairs(ids) do put(sets, keys[3], id, until_then) end
  write_sets(sets)
  return reply('ok', shard, ids)
end

-- grant_load: any number of grants and the control record at the same moment.
-- KEYS  3… ask, decisions, head of each        ARGV  3 asks (0: the caller fetches them by itself)
-- Reply 'ok' judged { {} or { version, head, ask or '', { decision, … }, born } for each }
--       born is 0 for a grant of before that was kept.
local function load_grants(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if args[3] ~= '0' and args[3] ~= '1' then return reply('malformed', shard, 'asks') end
  local rows = {}
  for k = 3, #keys, 3 do
    local head = redis.call('HMGET', keys[k + 2], 'version', 'head', 'born')
    local ask = head[1] and args[3] == '1' and redis.call('GET', keys[k])
    rows[#rows + 1] = head[1]
      and { tonumber(head[1]), head[2] or '', ask or '', redis.call('LRANGE', keys[k + 1], 0, -1), tonumber(head[3] or '0') }
      or {}
  end
  return reply('ok', shard, shard.judged, rows)
end

-- The entries of one grant's events in order, none above its stored version: id and fields (grant, id, version, n, seq, n, event, text).
local function entries_of(events, head_key)
  local head = redis.call('HMGET', head_key, 'version', 'ev')
  local version, entries = tonumber(head[1] or '0'), {}
  for entry in string.gmatch(head[2] or '', '[^,]+') do
    for _, found in ipairs(redis.call('XRANGE', events, entry, entry)) do
      if tonumber(found[2][4]) <= version then entries[#entries + 1] = found end
    end
  end
  return entries
end

-- grant_events: the events of one grant in order, none above its stored version.
-- KEYS  3 head        Reply 'ok' { { version, seq, event }, … }
local function events_of(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local rows = {}
  for n, found in ipairs(entries_of(keys[2], keys[3])) do
    rows[n] = { tonumber(found[2][4]), tonumber(found[2][6]), found[2][8] }
  end
  return reply('ok', shard, rows)
end

-- grant_list: ids that are in any of the indexes, by time of filing, newest first; within one millisecond by id, last first; each once.
-- KEYS  3… indexes        ARGV  3 limit  4 filedAt  5 id: where the former page ended, or both ''  6 filed at this time or later, or ''
-- Reply 'ok' { { id, filedAt }, … }
local function list_grants(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local limit, before, id_before, from = tonumber(args[3]), args[4], args[5], args[6]
  if not is_count(limit) or (before ~= '' and not is_count(tonumber(before))) or (from ~= '' and not is_count(tonumber(from))) then
    return reply('malformed', shard, 'page')
  end
  local rows, known = {}, {}
  for k = 3, #keys do
    local same = before == '' and 0 or redis.call('ZCOUNT', keys[k], before, before)
    local found = redis.call('ZREVRANGEBYSCORE', keys[k], before == '' and '+inf' or before, from == '' and '-inf' or from,
      'WITHSCORES', 'LIMIT', 0, limit + same)
    for n = 1, #found, 2 do
      local id, filed_at = found[n], tonumber(found[n + 1])
      if not known[id] and (before == '' or filed_at < tonumber(before) or id < id_before) then
        known[id] = true
        rows[#rows + 1] = { id, filed_at }
      end
    end
  end
  table.sort(rows, function(a, b) return a[2] > b[2] or (a[2] == b[2] and a[1] > b[1]) end)
  for n = #rows, limit + 1, -1 do rows[n] = nil end
  return reply('ok', shard, rows)
end

-- grant_feed: the events after a place, oldest first, up to the last millisecond that is over, in which nothing is written any more.
-- The place to go on from is that time where all were read, whoever's they were, so that it tells of none; else the last one read. From
-- '' on: nothing, and that time.
-- ARGV  3 a place, or ''  4 limit        Reply 'ok' place more { { id, grant, version, seq, event }, … }
local LAST_OF_MS = '-999999999999999'
local function feed(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local from, limit = args[3], tonumber(args[4])
  if not is_count(limit) or limit == 0 or (from ~= '' and not string.match(from, STREAM_ID)) then
    return reply('malformed', shard, 'page')
  end
  local over = (now_ms() - 1) .. LAST_OF_MS
  -- Also a place that a clock set back has left behind: there it waits.
  if from == '' or not is_after(over, from) then return reply('ok', shard, from == '' and over or from, 0, {}) end
  local rows = {}
  for _, found in ipairs(redis.call('XRANGE', keys[2], '(' .. from, over, 'COUNT', limit)) do
    local fields = found[2] -- grant, id, version, n, seq, n, event, text
    rows[#rows + 1] = { found[1], fields[2], tonumber(fields[4]), tonumber(fields[6]), fields[8] }
  end
  local more = #rows == limit
  return reply('ok', shard, more and rows[limit][1] or over, more and 1 or 0, rows)
end

-- grant_counts: how many are in each index.
-- KEYS  3… indexes        Reply 'ok' { count, … }
local function count_grants(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local counts = {}
  for k = 3, #keys do counts[#counts + 1] = redis.call('ZCARD', keys[k]) end
  return reply('ok', shard, counts)
end

-- grant_retired: what became terminal at least `keep` ago by this clock, oldest first.
-- KEYS  3 retire        ARGV  3 keepMs  4 limit        Reply 'ok' { id, … }; 'behind'
local function retired_grants(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local keep, limit = tonumber(args[3]), tonumber(args[4])
  if not is_count(keep) or not is_count(limit) then return reply('malformed', shard, 'keep or limit') end
  if shard.behind == 1 then return reply('behind', shard) end
  if limit == 0 then return reply('ok', shard, {}) end
  return reply('ok', shard, redis.call('ZRANGEBYSCORE', keys[3], '-inf', now_ms() - keep, 'LIMIT', 0, limit))
end

-- What a hash of uses holds: `u:<id>` is one use (when it came, its event or '', its text), `n:<kind>` how many of a kind came, and `n:left`
-- how many of them were not kept.
local USE = '^(%d+) (%S*) (.+)$'

-- The stream ids of a grant that may be forgotten, or nil: terminal since `before`, at this version, and with as many uses as the caller knows
-- of. Reads only, and reads every key that `forget` writes.
local function forgettable(shard, retire, grant, before)
  local head = redis.call('HMGET', grant.head_key, 'version', 'status', 'ev')
  local over_at = tonumber(redis.call('ZSCORE', retire, grant.id) or '')
  if tonumber(head[1] or '') ~= grant.version or not head[2] or OPEN[head[2]] then return nil end
  if not over_at or over_at > before then return nil end
  local entries = {}
  for entry in string.gmatch(head[3] or '', '[^,]+') do
    if not string.match(entry, STREAM_ID) then return nil end
    entries[#entries + 1] = entry
  end
  local uses, stored = 0, redis.call('HGETALL', grant.uses_key)
  for n = 1, #stored, 2 do
    if string.sub(stored[n], 1, 2) == 'u:' then
      local _, entry = string.match(stored[n + 1], USE)
      if not entry then return nil end
      uses = uses + 1
      if entry ~= '' then entries[#entries + 1] = entry end
    end
  end
  if uses ~= grant.uses then return nil end
  for _, index in ipairs(grant.indexes) do redis.call('ZCARD', index) end
  redis.call('XLEN', shard.events)
  return entries
end

local function forget(shard, retire, grant, entries)
  for _, entry in ipairs(entries) do
    if is_after(entry, shard.gone) then shard.gone = entry end
  end
  redis.call('HSET', shard.key, 'gone', shard.gone)
  for _, entry in ipairs(entries) do redis.call('XDEL', shard.events, entry) end
  redis.call('DEL', grant.ask_key, grant.decisions_key, grant.head_key, grant.uses_key)
  for _, index in ipairs(grant.indexes) do redis.call('ZREM', index, grant.id) end
  redis.call('ZREM', retire, grant.id)
end

-- grant_forget: 1 to 100 grants of one shard, each removed with its events if it has been terminal for `keep`; the others stay.
-- KEYS  3 retire  4… of each: ask, decisions, head, uses, then the indexes that it is in
-- ARGV  3 keepMs  4… of each: id, version, how many uses, how many indexes
-- Reply 'ok' count; 'behind'
local function forget_grants(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local keep, grants, k = tonumber(args[3]), {}, 4
  for i = 4, #args, 4 do
    local grant = {
      ask_key = keys[k], decisions_key = keys[k + 1], head_key = keys[k + 2], uses_key = keys[k + 3], id = args[i],
      version = tonumber(args[i + 1]), uses = tonumber(args[i + 2] or ''), indexes = {},
    }
    local count = tonumber(args[i + 3] or '')
    if not is_count(grant.version) or not is_count(grant.uses) or not is_count(count) or not keys[k + 3 + count] or #grants == 100 then
      return reply('malformed', shard, 'arguments')
    end
    for n = 1, count do grant.indexes[n] = keys[k + 3 + n] end
    grants[#grants + 1] = grant
    k = k + 4 + count
  end
  if not is_count(keep) or k ~= #keys + 1 then return reply('malformed', shard, 'arguments') end
  if shard.behind == 1 then return reply('behind', shard) end
  local before, forgotten = now_ms() - keep, 0
  for _, grant in ipairs(grants) do
    local entries = forgettable(shard, keys[3], grant, before)
    if entries then
      forget(shard, keys[3], grant, entries)
      forgotten = forgotten + 1
    end
  end
  return reply('ok', shard, forgotten)
end

-- control_read: the record, and how it stands with what an operator does about a store that has lost something.
-- Reply 'ok' judged floor clearing recovered known
--       floor: the newest commit that an operator found lost or revived, 0 for none. clearing: the text of a recovery that is under way, or
--       ''. recovered: the text of the last one that is over. known = 1: the newest event that the caller has seen is here.
local function read_control(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local at = redis.call('HMGET', keys[1], 'floor', 'clearing', 'recovered')
  local floor = tonumber(at[1] or '0')
  if not is_count(floor) then return reply('malformed', shard, 'floor') end
  local known = args[2] ~= '' and #redis.call('XRANGE', keys[2], args[2], args[2]) > 0
  return reply('ok', shard, shard.judged, floor, at[2] or '', at[3] or '', known and 1 or 0)
end

-- The same record under an epoch of its own.
local function raise_epoch(shard, judged)
  local policy, policy_digest, people, people_digest, epoch = string.match(judged, JUDGED)
  shard.epoch = math.max(shard.epoch, tonumber(epoch)) + 1
  return table.concat({ policy, policy_digest, people, people_digest, string.format('%d', shard.epoch) }, '|')
end

local function put_control(shard, judged)
  shard.seq, shard.judged = shard.seq + 1, judged
  redis.call('HSET', shard.key, 'n', string.format('%d', shard.seq), 'judged', judged, 'epoch', string.format('%d', shard.epoch))
end

-- Why rules may not follow those of the record, or nil: a revision never falls, and never has two digests.
local function outdated(judged, policy, policy_digest, people, people_digest)
  local old_policy, old_policy_digest, old_people, old_people_digest = string.match(judged, JUDGED)
  if tonumber(policy) < tonumber(old_policy) then return 'lower', 'policy' end
  if tonumber(people) < tonumber(old_people) then return 'lower', 'people' end
  if policy == old_policy and policy_digest ~= old_policy_digest then return 'differs', 'policy' end
  if people == old_people and people_digest ~= old_people_digest then return 'differs', 'people' end
end

-- control_publish: raises the revisions, or creates the record of a shard on which nothing was ever committed.
-- ARGV  3 the record as it shall be (its freeze epoch is that of a new record; an existing one keeps its own)  4 mayCreate (0 or 1)
-- Reply 'ok' judged; 'lower' which, 'differs' which; 'absent' (there is no record and none may be made), 'used' (no record, yet commits)
local function publish_control(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local policy, policy_digest, people, people_digest = string.match(args[3] or '', JUDGED)
  if not policy then return reply('malformed', shard, 'rules') end
  if not string.match(shard.judged, JUDGED) then
    if redis.call('EXISTS', keys[1], keys[2]) > 0 then return reply('used', shard) end
    if args[4] ~= '1' then return reply('absent', shard) end
    put_control(shard, args[3])
    return reply('ok', shard, shard.judged)
  end
  local tag, which = outdated(shard.judged, policy, policy_digest, people, people_digest)
  if tag then return reply(tag, shard, which) end
  local _, _, _, _, epoch = string.match(shard.judged, JUDGED)
  local raised = table.concat({ policy, policy_digest, people, people_digest, epoch }, '|')
  if raised ~= shard.judged then put_control(shard, raised) end
  return reply('ok', shard, shard.judged)
end

-- The highest sequence that anything here or the caller knows of; events tell of it where the control key was lost.
local function highest(shard, args)
  local seq = math.max(shard.seq, tonumber(args[1]))
  local last = redis.call('XREVRANGE', shard.events, '+', '-', 'COUNT', 1)[1]
  local told = last and tonumber(last[2][6]) -- grant, id, version, n, seq, n, event, text
  return is_count(told) and math.max(seq, told) or seq
end

-- How far a recovery raises the sequence: above what any other broker may have seen of what was lost.
local LEAP = 1000000

-- shard_clear: an operator has found that this is an older copy. From here on there is no control record, so nothing is allowed at any
-- broker, until all that was born up to `floor` has been ended and the shard is accepted. The record is kept aside, as its revisions must not fall.
-- ARGV  3 the text of the recovery        Reply 'ok' floor clearing (as it is under way now: one that was begun before stays)
local function clear_shard(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if #args ~= 3 or args[3] == '' then return reply('malformed', shard, 'recovery') end
  local before = redis.call('HMGET', keys[1], 'floor', 'clearing')
  local floor = tonumber(before[1] or '0')
  if before[2] and is_count(floor) and floor >= tonumber(args[1]) then return reply('ok', shard, floor, before[2]) end
  shard.seq = highest(shard, args) + LEAP
  local seq = string.format('%d', shard.seq)
  redis.call('HSET', keys[1], 'n', seq, 'floor', seq, 'clearing', args[3], 'epoch', string.format('%d', shard.epoch))
  if string.match(shard.judged, JUDGED) then redis.call('HSET', keys[1], 'held', shard.judged) end
  redis.call('HDEL', keys[1], 'judged')
  return reply('ok', shard, shard.seq, args[3])
end

-- grant_born: which grants were born after a place in the order of events, oldest first.
-- ARGV  3 a place, or ''  4 how many events are read        Reply 'ok' place more { id, … }
local function born_after(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local from, limit = args[3], tonumber(args[4])
  if not is_count(limit) or limit == 0 or (from ~= '' and not string.match(from, STREAM_ID)) then
    return reply('malformed', shard, 'page')
  end
  local found = redis.call('XRANGE', keys[2], from == '' and '-' or ('(' .. from), '+', 'COUNT', limit)
  local ids = {}
  for _, one in ipairs(found) do
    local fields = one[2] -- grant, id, version, n, seq, n, event, text
    if fields[4] == '1' then ids[#ids + 1] = fields[2] end
  end
  local more = #found == limit
  return reply('ok', shard, more and found[limit][1] or from, more and 1 or 0, ids)
end

-- shard_accept: an operator takes the shard as it is. Raises the sequence above everything that the caller has seen, and restores the
-- control record where it is missing: the one that was kept aside, or the caller's. Sequence and freeze epoch only ever rise: what a broker
-- keeps by an epoch is read again. A recovery is over with it.
-- ARGV  3 the record for a shard that has none; its epoch is the newest that the caller has seen  4 the floor that was cleared, or '' where none was
-- Reply 'ok' judged; 'moved' floor: there is another recovery
local function accept_shard(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if not string.match(args[3] or '', JUDGED) then return reply('malformed', shard, 'rules') end
  local at = redis.call('HMGET', keys[1], 'floor', 'clearing', 'held')
  if (at[2] and args[4] ~= at[1]) or (not at[2] and args[4] ~= '') then return reply('moved', shard, tonumber(at[1] or '0')) end
  shard.seq = highest(shard, args)
  local _, _, _, _, epoch = string.match(args[3], JUDGED)
  shard.epoch = math.max(shard.epoch, tonumber(epoch))
  local base = (string.match(shard.judged, JUDGED) and shard.judged) or (string.match(at[3] or '', JUDGED) and at[3]) or args[3]
  put_control(shard, raise_epoch(shard, base))
  if at[2] then redis.call('HSET', keys[1], 'recovered', at[2]) end
  redis.call('HDEL', keys[1], 'clearing', 'held')
  return reply('ok', shard, shard.judged)
end

-- One act of a freeze: its event, its place in the shard's order, the freeze itself, and with them an epoch that none was judged under.
local function put_freeze(shard, key, id, version, seq, lifted, text, event)
  shard.seq = shard.seq + 1
  local now = string.format('%d', shard.seq)
  shard.event = redis.call('XADD', shard.events, '*', 'grant', id, 'version', version, 'seq', now, 'event', event)
  redis.call('HSET', key, id, (seq or now) .. ' ' .. lifted .. ' ' .. text)
  if string.match(shard.judged, JUDGED) then shard.judged = raise_epoch(shard, shard.judged) else shard.epoch = shard.epoch + 1 end
  redis.call('HSET', shard.key, 'n', now, 'event', shard.event, 'epoch', string.format('%d', shard.epoch))
  if shard.judged ~= '' then redis.call('HSET', shard.key, 'judged', shard.judged) end
end

local FREEZE = '^(%d+) ([01]) (.+)$'

-- freeze_put: stores a freeze, whatever state the shard is in, and raises the epoch with it. One that is there already stays as it is.
-- KEYS  3 freezes        ARGV  3 id  4 text  5 event        Reply 'ok' seq (at which it was stored)
local function freeze(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if #keys ~= 3 or #args ~= 5 or args[3] == '' or args[4] == '' or args[5] == '' then return reply('malformed', shard, 'freeze') end
  local before = redis.call('HGET', keys[3], args[3])
  if before then
    local seq = string.match(before, FREEZE)
    if not seq then return reply('malformed', shard, 'stored') end
    return reply('ok', shard, tonumber(seq))
  end
  put_freeze(shard, keys[3], args[3], '1', nil, '0', args[4], args[5])
  return reply('ok', shard, shard.seq)
end

-- freeze_lift: the freeze in its lifted form; it keeps the sequence at which it was stored. One that was lifted before stays as it is.
-- KEYS  3 freezes        ARGV  3 id  4 text  5 event  6 the rules as judged: the control record without its epoch
-- Reply 'ok' seq text (as it is stored now); 'missing', 'behind', 'absent', 'stale'
local function lift(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if #keys ~= 3 or #args ~= 6 or args[4] == '' or args[5] == '' or args[6] == '' then return reply('malformed', shard, 'lift') end
  if shard.behind == 1 then return reply('behind', shard) end
  if not string.match(shard.judged, JUDGED) then return reply('absent', shard) end
  if string.sub(shard.judged, 1, #args[6] + 1) ~= args[6] .. '|' then return reply('stale', shard) end
  local before = redis.call('HGET', keys[3], args[3])
  if not before then return reply('missing', shard) end
  local seq, lifted, text = string.match(before, FREEZE)
  if not seq then return reply('malformed', shard, 'stored') end
  if lifted == '1' then return reply('ok', shard, shard.seq, text) end
  put_freeze(shard, keys[3], args[3], '2', seq, '1', args[4], args[5])
  return reply('ok', shard, shard.seq, args[4])
end

-- freezes: all of them, lifted or not, and the control record at the same moment. One that cannot be read hides behind none.
-- KEYS  3 freezes        Reply 'ok' judged { { seq, text }, … }
local function freezes(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local rows, stored = {}, redis.call('HGETALL', keys[3])
  for n = 2, #stored, 2 do
    local seq, _, text = string.match(stored[n], FREEZE)
    if not seq then return reply('malformed', shard, 'stored') end
    rows[#rows + 1] = { tonumber(seq), text }
  end
  return reply('ok', shard, shard.judged, rows)
end

-- grant_live: some of what has a deadline in a lane, in the order of the scan. Whoever goes on from cursor to cursor until it is '0' has seen
-- each one that was there all the while at least once. A cursor is good on the server that gave it only: on another one, and after a
-- restart, the scan begins anew.
-- KEYS  3 due        ARGV  3 cursor ('0' to begin)  4 run: of the server that gave it, or ''  5 about
-- Reply 'ok' cursor run { id, … }
local function live(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local about, run = tonumber(args[5]), string.match(redis.call('INFO', 'server'), 'run_id:(%x+)')
  if not string.match(args[3], '^%d+$') or not is_count(about) or about == 0 or not run then return reply('malformed', shard, 'cursor') end
  local found, ids = redis.call('ZSCAN', keys[3], run == args[4] and args[3] or '0', 'COUNT', about), {}
  for n = 1, #found[2], 2 do ids[#ids + 1] = found[2][n] end
  return reply('ok', shard, found[1], run, ids)
end

-- How far the clean-up behind a containment has come on one shard: a hash of walks (of each lane `walk:<lane>` and, in milliseconds,
-- `until:<lane>`, the end of the lease of whoever walks it; `residue`, the latest of all; `each`, how many milliseconds one took to be
-- over, the latest counting most, and `at`, when one was last) and a sorted set of what was matched by its stage: from OVER on it is over.
-- containment_claim: a walk, leased to the caller. Goes on in a full Redis, as everything that ends.
-- KEYS  3 walks        ARGV  3 lane  4 leaseMs        Reply 'ok' walk ('' for one that has not begun); 'held'
local function claim_walk(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local lease, now = tonumber(args[4]), now_ms()
  if #keys ~= 3 or not is_count(lease) or lease == 0 then return reply('malformed', shard, 'lease') end
  local walk = redis.call('HMGET', keys[3], 'walk:' .. args[3], 'until:' .. args[3])
  if tonumber(walk[2] or '0') > now then return reply('held', shard) end
  redis.call('HSET', keys[3], 'until:' .. args[3], string.format('%d', now + lease))
  redis.call('HSETNX', keys[3], 'at', string.format('%d', now))
  return reply('ok', shard, walk[1] or '')
end

-- containment_note: the stages of grants and, where a lane is named, how far its walk has come, with the lease for as long again.
-- KEYS  3 walks  4 matched        ARGV  3 lane ('' for none)  4 walk  5 leaseMs  6 residue (0 for none)  7 keepMs  8… stage, id of each
-- Reply 'ok'
local function note_contained(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local lease, residue, keep = tonumber(args[5]), tonumber(args[6]), tonumber(args[7])
  if #keys ~= 4 or #args % 2 == 0 or not is_count(lease) or not is_count(residue) or not is_count(keep) or keep == 0 then
    return reply('malformed', shard, 'arguments')
  end
  for n = 8, #args, 2 do
    if not is_count(tonumber(args[n])) or args[n + 1] == '' then return reply('malformed', shard, 'stage') end
  end
  local known, now, over = redis.call('HMGET', keys[3], 'residue', 'each', 'at'), now_ms(), 0
  local latest = tonumber(known[1] or '0')
  redis.call('ZCARD', keys[4])
  local sets = {}
  for n = 8, #args, 2 do
    if tonumber(args[n]) >= OVER and tonumber(redis.call('ZSCORE', keys[4], args[n + 1]) or '0') < OVER then over = over + 1 end
    put(sets, keys[4], args[n + 1], args[n])
  end
  write_sets(sets)
  keep_pace(keys[3], known[2], known[3], over, now)
  redis.call('HSET', keys[3], 'residue', string.format('%d', math.max(latest, residue)))
  if args[3] ~= '' then
    redis.call('HSET', keys[3], 'walk:' .. args[3], args[4], 'until:' .. args[3], string.format('%d', now + lease))
  end
  redis.call('PEXPIRE', keys[3], keep)
  redis.call('PEXPIRE', keys[4], keep)
  return reply('ok', shard)
end

-- containment_read: the walks, the latest residue, how many are in each stage, and how fast they come to be over ('' where none did).
-- KEYS  3 walks  4 matched        ARGV  3 stages        Reply 'ok' { lane, walk, … } residue { count, … } each at
local function read_containment(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local stages, walks, counts = tonumber(args[3]), {}, {}
  if #keys ~= 4 or not is_count(stages) then return reply('malformed', shard, 'stages') end
  local stored = redis.call('HGETALL', keys[3])
  for n = 1, #stored, 2 do
    local lane = string.match(stored[n], '^walk:(.+)$')
    if lane then
      walks[#walks + 1] = lane
      walks[#walks + 1] = stored[n + 1]
    end
  end
  for stage = 0, stages - 1 do counts[stage + 1] = redis.call('ZCOUNT', keys[4], stage, stage) end
  local known = redis.call('HMGET', keys[3], 'residue', 'each', 'at')
  return reply('ok', shard, walks, tonumber(known[1] or '0'), counts, known[2] or '', tonumber(known[3] or '0'))
end

-- containment_page: what is in these stages, by stage and id.
-- KEYS  3 matched        ARGV  3 from stage  4 to stage  5 how many to skip  6 limit        Reply 'ok' { { id, stage }, … }
local function page_contained(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  for n = 3, 6 do
    if not is_count(tonumber(args[n])) then return reply('malformed', shard, 'page') end
  end
  local rows = {}
  local found = redis.call('ZRANGEBYSCORE', keys[3], args[3], args[4], 'WITHSCORES', 'LIMIT', args[5], args[6])
  for n = 1, #found, 2 do rows[#rows + 1] = { found[n], tonumber(found[n + 1]) } end
  return reply('ok', shard, rows)
end

-- rate_take: how many of `want` permits a bucket gives that refills evenly with `most` permits in `per` and holds no more (GCRA: the
-- bucket is the time at which it would be full again). Nothing is owed: what is not given costs nothing.
-- KEYS  3 bucket        ARGV  3 perMs  4 most  5 want        Reply 'ok' given left retryMs (until one more is there; 0 if one is)
local function take(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local per, most, want = tonumber(args[3]), tonumber(args[4]), tonumber(args[5])
  if not is_count(per) or not is_count(most) or not is_count(want) or per == 0 or most == 0 then
    return reply('malformed', shard, 'rate')
  end
  local now, each = now_ms(), per / most
  local stored = tonumber(redis.call('GET', keys[3]) or '0') or 0
  -- Full again within one period, also after the clock was set back: then the time is written anew, or it would never come nearer.
  local full_at = math.min(math.max(stored, now), now + per)
  -- A little less than a permit is a permit: fractions of a millisecond are rounded.
  local there = math.floor((per - (full_at - now)) / each + 0.001)
  local given = math.max(0, math.min(want, there))
  if given > 0 or stored > full_at then
    full_at = full_at + given * each
    redis.call('SET', keys[3], string.format('%.3f', full_at), 'PX', math.ceil(full_at - now) + 1)
  end
  local retry = there - given > 0 and 0 or math.max(0, math.ceil(full_at + each - per - now))
  return reply('ok', shard, given, math.max(0, there - given), retry)
end

-- use_once: whether this is the first use of a mark, which is kept until then by this server's own clock. A full Redis takes it all the
-- same: who must show a proof could not end anything otherwise.
-- KEYS  3 mark        ARGV  3 until        Reply 'ok' first (1 or 0)
local function use_once(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if not keys[3] or not is_count(tonumber(args[3])) then return reply('malformed', shard, 'mark') end
  return reply('ok', shard, redis.call('SET', keys[3], '1', 'NX', 'PXAT', args[3]) and 1 or 0)
end

-- status_read: which grants are live, by their places in one status list.
-- KEYS  3 list        Reply 'ok' judged known bits (known = 0 where there is no such list; else a bit per place, as SETBIT counts)
local function read_status(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if #keys ~= 3 then return reply('malformed', shard, 'list') end
  local bits = redis.call('GET', keys[3])
  return reply('ok', shard, shard.judged, bits and 1 or 0, bits or '')
end

-- status_lists: the keys of all status lists that are kept.
-- KEYS  3 lists        Reply 'ok' { key, … }
local function status_lists(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if #keys ~= 3 then return reply('malformed', shard, 'lists') end
  return reply('ok', shard, redis.call('ZRANGEBYSCORE', keys[3], '(' .. now_ms(), '+inf'))
end

-- An id of the stream as text that sorts as the ids do.
local function sortable(id)
  local ms, n = string.match(id, STREAM_ID)
  return string.format('%015d-%015d', tonumber(ms), tonumber(n))
end
local ACK = '^(%d+%-%d+):(%d+)$'
local SEEN = '^(%d+) (%d+)$'

-- Room for one more consumer, or false: of those that have not been seen for `fresh` the longest unseen goes first.
local function has_room(consumers, most, before)
  if redis.call('HLEN', consumers) < most then return true end
  local oldest, oldest_at
  local stored = redis.call('HGETALL', consumers)
  for n = 1, #stored, 2 do
    local _, seen = string.match(stored[n + 1], SEEN)
    seen = tonumber(seen or '0')
    if seen < before and (not oldest or seen < oldest_at) then oldest, oldest_at = stored[n], seen end
  end
  if oldest then redis.call('HDEL', consumers, oldest) end
  return oldest ~= nil
end

-- revocation_ack: a consumer refuses everything up to a place. Kept is when each place was first reached, in the order of both. Where nothing
-- that concerns it lies between its last place and this one (from `unbroken` on there is nothing), its last one is moved on and keeps its time:
-- so what is kept grows with the revocations and not with the acknowledgements. A place that it has passed already changes nothing.
-- KEYS  3 acks (sorted set, all of score 0: place:time)  4 consumers (hash: first and last seen)
-- ARGV  3 consumer  4 place  5 unbroken, or ''  6 most acks  7 keepMs  8 most consumers  9 freshMs
-- Reply 'ok'; 'behind', 'ahead' (of this clock: nobody can have read that far), 'full' (as many fresh consumers as may be)
local function acknowledge(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local consumer, id, unbroken = args[3], args[4], args[5]
  local most, keep, most_consumers, fresh = tonumber(args[6]), tonumber(args[7]), tonumber(args[8]), tonumber(args[9])
  if not keys[4] or consumer == '' or not string.match(id, STREAM_ID) or (unbroken ~= '' and not string.match(unbroken, STREAM_ID))
    or not is_count(most) or most == 0 or not is_count(keep) or keep == 0 or not is_count(most_consumers) or not is_count(fresh) then
    return reply('malformed', shard, 'acknowledgement')
  end
  if shard.behind == 1 then return reply('behind', shard) end
  local now = now_ms()
  if is_after(id, now .. LAST_OF_MS) then return reply('ahead', shard) end
  local last = redis.call('ZREVRANGE', keys[3], 0, 0)[1]
  local known = redis.call('HGET', keys[4], consumer)
  if not known and not has_room(keys[4], most_consumers, now - fresh) then return reply('full', shard) end
  local first = known and string.match(known, SEEN) or string.format('%d', now)
  redis.call('HSET', keys[4], consumer, first .. ' ' .. string.format('%d', now))
  redis.call('PEXPIRE', keys[4], keep)
  local place = sortable(id)
  local last_place, last_at = string.match(last or '', ACK)
  if not last_place or last_place < place then
    local at = string.format('%d', now)
    if last_place and unbroken ~= '' and last_place >= sortable(unbroken) then
      redis.call('ZREM', keys[3], last)
      at = last_at
    end
    redis.call('ZADD', keys[3], 0, place .. ':' .. at)
    redis.call('ZREMRANGEBYRANK', keys[3], 0, -(most + 1))
  end
  redis.call('PEXPIRE', keys[3], keep)
  return reply('ok', shard)
end

-- revocation_left: the events of one grant with their ids, none above its stored version, and who consumes what concerns it.
-- KEYS  3 head  4 consumers        Reply 'ok' { { id, event }, … } { consumer, seen, … }
local function left_by(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local rows = {}
  for n, found in ipairs(entries_of(keys[2], keys[3])) do rows[n] = { found[1], found[2][8] } end
  return reply('ok', shard, rows, redis.call('HGETALL', keys[4]))
end

-- revocation_acked: of each consumer when it first was at this place or further, or ''.
-- KEYS  3… acks        ARGV  3 place        Reply 'ok' { time, … }
local function acked_by(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  if not string.match(args[3] or '', STREAM_ID) then return reply('malformed', shard, 'place') end
  local from, times = '[' .. sortable(args[3]), {}
  for k = 3, #keys do
    local found = redis.call('ZRANGEBYLEX', keys[k], from, '+', 'LIMIT', 0, 1)[1]
    local _, at = string.match(found or '', ACK)
    times[#times + 1] = at or ''
  end
  return reply('ok', shard, times)
end

-- use_report: what a resource server saw of a grant's credentials, each under its own id once. Of each kind only `most` are kept, so that a flood of
-- one hides none of the other; what is not kept is counted. A use that comes with an event has its place in the shard's order, as a freeze has,
-- under the version of the grant, which it does not move.
-- KEYS  3 head  4 uses        ARGV  3 grant  4 most of a kind  5… of each: id, kind, text, event or ''
-- Reply 'ok' { { 'kept' or 'left' or 'repeated', seq of its event or 0 }, … }; 'missing', 'behind'
local function report_uses(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local most = tonumber(args[4] or '')
  if #keys ~= 4 or not is_count(most) or #args < 8 or #args > 404 or #args % 4 ~= 0 then return reply('malformed', shard, 'uses') end
  for i = 5, #args, 4 do
    if args[i] == '' or args[i + 1] == '' or args[i + 1] == 'left' or args[i + 2] == '' then return reply('malformed', shard, 'use') end
  end
  if shard.behind == 1 then return reply('behind', shard) end
  local version = redis.call('HGET', keys[3], 'version')
  if not version then return reply('missing', shard) end
  redis.call('HLEN', keys[4])
  local rows, now = {}, string.format('%d', now_ms())
  for i = 5, #args, 4 do
    local field, kind, row = 'u:' .. args[i], 'n:' .. args[i + 1], { 'kept', 0 }
    if redis.call('HEXISTS', keys[4], field) == 1 then
      row[1] = 'repeated'
    elseif tonumber(redis.call('HGET', keys[4], kind) or '0') >= most then
      row[1] = 'left'
      redis.call('HINCRBY', keys[4], kind, 1)
      redis.call('HINCRBY', keys[4], 'n:left', 1)
    else
      local entry = ''
      if args[i + 3] ~= '' then
        shard.seq = shard.seq + 1
        local seq = string.format('%d', shard.seq)
        entry = redis.call('XADD', shard.events, '*', 'grant', args[3], 'version', version, 'seq', seq, 'event', args[i + 3])
        shard.event = entry
        redis.call('HSET', shard.key, 'n', seq, 'event', entry)
        row[2] = shard.seq
      end
      redis.call('HSET', keys[4], field, now .. ' ' .. entry .. ' ' .. args[i + 2])
      redis.call('HINCRBY', keys[4], kind, 1)
    end
    rows[#rows + 1] = row
  end
  return reply('ok', shard, rows)
end

-- use_read: all uses of a grant, and how many came of each kind.
-- KEYS  3 uses        Reply 'ok' { { receivedAt, text }, … } { { kind, count }, … }
local function read_uses(keys, args)
  local shard, fault = open_shard(keys, args)
  if not shard then return fault end
  local rows, counts, stored = {}, {}, redis.call('HGETALL', keys[3])
  for n = 1, #stored, 2 do
    local what, name = string.sub(stored[n], 1, 2), string.sub(stored[n], 3)
    if what == 'u:' then
      local at, _, text = string.match(stored[n + 1], USE)
      if not at then return reply('malformed', shard, 'use') end
      rows[#rows + 1] = { tonumber(at), text }
    else
      counts[#counts + 1] = { name, tonumber(stored[n + 1]) }
    end
  end
  return reply('ok', shard, rows, counts)
end

local function register(name, callback, ...)
  redis.register_function({ function_name = name .. SUFFIX, callback = callback, flags = { ... } })
end

register('grant_commit', function(keys, args) return commit(keys, args, true) end)
register('grant_end_commit', function(keys, args) return commit(keys, args, false) end, 'allow-oom')
register('grant_commit_each', commit_each, 'allow-oom')
register('claim_due', claim_due, 'allow-oom')
register('grant_load', load_grants, 'no-writes')
register('grant_events', events_of, 'no-writes')
register('grant_list', list_grants, 'no-writes')
register('grant_feed', feed, 'no-writes')
register('grant_counts', count_grants, 'no-writes')
register('grant_retired', retired_grants, 'no-writes')
register('grant_forget', forget_grants, 'allow-oom')
register('control_read', read_control, 'no-writes')
register('control_publish', publish_control, 'allow-oom')
register('shard_clear', clear_shard, 'allow-oom')
register('shard_accept', accept_shard, 'allow-oom')
register('grant_born', born_after, 'no-writes')
register('freeze_put', freeze, 'allow-oom')
register('freeze_lift', lift)
register('freezes', freezes, 'no-writes')
register('grant_live', live, 'no-writes')
register('containment_claim', claim_walk, 'allow-oom')
register('containment_note', note_contained, 'allow-oom')
register('containment_read', read_containment, 'no-writes')
register('containment_page', page_contained, 'no-writes')
register('revocation_ack', acknowledge)
register('revocation_left', left_by, 'no-writes')
register('revocation_acked', acked_by, 'no-writes')
register('use_report', report_uses)
register('use_read', read_uses, 'no-writes')
register('rate_take', take, 'allow-oom')
register('use_once', use_once, 'allow-oom')
register('status_read', read_status, 'no-writes')
register('status_lists', status_lists, 'no-writes')
