-- What wrk sends, as the environment says, and what it tells when it is done: a line of JSON.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("BENCH_KEY")
wrk.body = os.getenv("BENCH_BODY")

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "median_us": %d, "p99_us": %d, "bad_status": %d, "broken": %d, "late": %d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50), latency:percentile(99),
      errors.status, errors.connect + errors.read + errors.write, errors.timeout
   ))
end
