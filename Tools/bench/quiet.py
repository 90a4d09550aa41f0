"""Whether other work keeps the machine busy, which makes ratios worthless.

PyTorch's threads spin while they wait for each other. Beside other work they do so for whole time slices, so that the
peer's clock and its CPU seconds both grow several times while ours hardly grow.
"""

import time

MOST_BUSY = 0.1


def add_option(parser):
    parser.add_argument(
        "--busy", action="store_true", help="measure although other work keeps the machine busy; the ratios say nothing")


def require(parser, arguments):
    """Ends the program where the machine is busy and that was not asked for."""
    share = busy_share()
    if share > MOST_BUSY and not arguments.busy:
        parser.error(
            f"other work keeps {share:.0%} of the processors busy, and ratios taken beside it are several times too high: "
            "wait for it to end, or give --busy")


def busy_share(seconds=2):
    """The part of all processors' time that was in use, of the next seconds; 0 where the system does not say."""
    try:
        before = _times()
        time.sleep(seconds)
        after = _times()
    except OSError:
        return 0.0
    spent = [b - a for a, b in zip(before, after)]
    # user, nice, system, idle, iowait, ...
    return 1 - (spent[3] + spent[4]) / max(sum(spent), 1)


def _times():
    with open("/proc/stat") as file:
        # Guests' time, the last two, is part of the users'.
        return [int(word) for word in file.readline().split()[1:9]]
