-- wrk's script: goes through the paths of a file, from a place of its own on, and ends with one line of JSON.
--   wrk … -s load.lua URL -- FILE START
local paths, position = {}, 0

function init(arguments)
    for path in io.lines(arguments[1]) do
        paths[#paths + 1] = wrk.format("GET", path)
    end
    position = tonumber(arguments[2])
end

function request()
    position = position % #paths + 1
    return paths[position]
end

function done(summary, latency)
    local errors = summary.errors
    io.write(string.format(
        '{"seconds":%.6f,"requests":%d,"bytes":%d,"p50":%.3f,"p99":%.3f,"longest":%.3f,"errors":%d}\n',
        summary.duration / 1e6, summary.requests, summary.bytes,
        latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
        errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
