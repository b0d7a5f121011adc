"""A benchmark's peer: waits for its turn, reports the seconds that it got, and ends well, badly or not at all."""

import argparse
import time

from benchmarks.common.report import write_report
from benchmarks.peers.process import await_turn


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("end", choices=("well", "badly", "never"))
    parser.add_argument("--after")
    parser.add_argument("--out")
    options = parser.parse_args()
    write_report({"rows": [await_turn(options.after)]}, options.out)
    if options.end == "badly":
        raise SystemExit("no memory")
    if options.end == "never":
        time.sleep(60)


if __name__ == "__main__":
    main()
