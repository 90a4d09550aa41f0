"""Timing shared by the benchmark peers."""

import json
import statistics
import sys
import time


def peak_rss_bytes():
    """The process's largest resident set so far; getrusage would count that of the process that started this one."""
    with open("/proc/self/status") as status:
        line = next(line for line in status if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def seconds(job):
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def report(job, warm_up, runs, **facts):
    """Runs `job` and prints the median of its seconds, with the range, as one line of JSON."""
    for _ in range(warm_up):
        job()
    samples = [seconds(job) for _ in range(runs)]
    facts |= {
        "runs": runs,
        "medianSeconds": statistics.median(samples),
        "minSeconds": min(samples),
        "maxSeconds": max(samples),
        "peakRSSBytes": peak_rss_bytes(),
    }
    print(json.dumps(facts))


def serve(job, warm_up):
    """Answers every line `run` on standard input with the seconds of one run, so that a driver can interleave peers.

    Prints `ready` after the warm-up; ends at the end of input or at `quit`, with a last line of JSON.
    """
    for _ in range(warm_up):
        job()
    print("ready", flush=True)
    for line in sys.stdin:
        request = line.strip()
        if request == "run":
            print(f"{seconds(job):.9f}", flush=True)
        elif request == "quit":
            break
        elif request:
            print(f"error: unknown request {request!r}; expected 'run' or 'quit'", flush=True)
    print(json.dumps({"peakRSSBytes": peak_rss_bytes()}), flush=True)
