"""One of the two services of `bench.against`: started by the code of its checkout, which alone
knows how to fill its database and what its requests look like.

It runs with the checkout on PYTHONPATH, and may be older than this file. It says what it has as a
line of JSON, and answers each line `[job, count, file]` once it has written so many requests there.
"""

import json
import sys
from pathlib import Path

from bench import processes
from bench.jobs import JOBS
from bench.prepared import prepared
from bench.world import Size


def main(dialect: str, core: str) -> None:
    with (
        prepared(dialect, Size()) as (folder, url, world, port),
        processes.service(folder, url, int(core) if core else None, PORT=str(port)) as server,
    ):
        jobs = {job.name: job for job in JOBS}
        left: dict[str, list[bytes]] = {name: [] for name in jobs}
        print(json.dumps({"port": port, "pid": server.process.pid, "jobs": [*jobs]}), flush=True)
        for line in sys.stdin:
            name, count, file = json.loads(line)
            while len(left[name]) < count:
                left[name] += jobs[name].requests(world, 1)
            now, later = left[name][:count], left[name][count:]
            left[name] = later if jobs[name].once else now + later
            Path(file).write_bytes(b"\0".join(now))
            print(json.dumps(True), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
